"""A new tool package: `scaffold` writes what lies in `template/`, with the package's name filled in."""
