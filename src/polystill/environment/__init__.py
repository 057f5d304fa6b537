"""The process and its machine: allocator, threads, memory, optional packages, fresh processes."""
