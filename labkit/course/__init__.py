"""What only teaching assistants, maintainers and CI use: executing notebooks and showing what came out."""
