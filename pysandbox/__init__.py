"""Names under this package stand for functions that run in the sandbox.

    from pysandbox.my_tools.data import process   # my_tools.data is not imported here
    process(rows=[1, 2])                          # a sandboxed call

An engine that takes a function by its dotted path takes ``pysandbox.my_tools.data.process`` as it takes any other.
"""

from elf_pysandbox.integrations.elf.hook import install

install()
