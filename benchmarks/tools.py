"""The tools that are measured. Nothing is imported here: a template holds what its tool's module imports."""


def noop():
    return None


def nap(seconds):
    import time

    time.sleep(seconds)
    return seconds


def echo(value):
    return value
