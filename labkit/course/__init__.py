"""What only teaching assistants, maintainers and CI use: executing notebooks, showing what came out, making the student kit."""
