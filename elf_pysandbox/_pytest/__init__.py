"""What the pytest plugin does once it is used; nothing here is imported before that.

- `options`: marker, command line and ini as settings.
- `view`: the pool that tests see.
- `body`: tests whose own body runs confined.
- `report`: the calls of a run, as a table or a file.
- `plain`: a tool without the sandbox, for comparison.
"""
