"""What a server of processes imports first: it makes a million objects that stay, and looks for no garbage meanwhile. See startup.py."""

import gc

gc.disable()
