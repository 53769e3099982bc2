"""A small package of methods, laid out like the real one."""
