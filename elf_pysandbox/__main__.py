"""`python -m elf_pysandbox` is `pysandbox`."""

from elf_pysandbox._cli import main

if __name__ == "__main__":
    main()
