"""Profiles of tools: measured call by call, shown as text, as a speedscope file, as a page.

- `model`: the values, and the reading of what a worker reports; a worker is trusted for nothing but the
  figures.
- `measure`: the calls that a profile is made of.
- `text`, `speedscope`, `page`: the three ways to show one.
"""
