"""Compare training in several processes with training in one."""
