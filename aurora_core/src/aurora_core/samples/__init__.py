"""What serving captures, how it travels, and the pool that training draws from."""
