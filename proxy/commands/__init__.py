"""The commands, a file each; each is a coroutine that returns the exit status."""
