"""Documentation of tools: a page for each, from its source, its limits and its examples run.

- `extract`: what a source says about its functions. Runs in the sandbox, as a tool: no source is parsed here.
- `gather`: a folder of sources to the tools in it.
- `markdown`, `page`: the two forms of a page.
"""
