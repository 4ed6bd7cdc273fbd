"""YAML in, checked values out; every error has its file, line and column. Nothing is run here.

`text` reads YAML into a tree of places · `merge` takes in includes and defaults · `models` is the shape ·
`explain` words pydantic's errors · `template` is ``${…}`` · `types` is `return_type` · `check` is what
only the whole can tell · `document` is the result · `schema` is for editors.
"""
