"""The command line `pysandbox`: an edge, which imports only public names.

Each command lives in a module of its own and is imported when it is asked for. Ctrl-C is told from the
first import on: much of the time until a call is made goes by here.
"""

try:
    from elf_pysandbox._cli.group import COMMANDS as COMMANDS
    from elf_pysandbox._cli.group import main as main
except KeyboardInterrupt:
    import sys

    from elf_pysandbox._cli.streams import end_interrupted

    end_interrupted(as_json="--json" in sys.argv)
