"""What a platform is: values, no I/O."""
