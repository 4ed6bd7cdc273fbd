"""The corpus of malformed workflow documents: name, text, where the error stands, and what it says.

Every document is written to ``flow.yaml`` in a folder that holds ``tools.py`` (functions `double`, `boom`)
and ``cycle_a.yaml`` / ``cycle_b.yaml``, which include each other.
"""

from __future__ import annotations

from typing import NamedTuple

F = "functions:\n  python_functions:\n    - {name: a, file: tools.py, function: double}\n"
F2 = F + "    - {name: b, file: tools.py, function: double}\n"


class Malformed(NamedTuple):
    name: str
    text: str | bytes
    at: str
    says: str
    file: str = "flow.yaml"


def _function(line: str) -> str:
    head = "functions:\n  python_functions:\n    - name: a\n      file: tools.py\n      function: double\n"
    return f"{head}      {line}\n"


def _graph(lines: str) -> str:
    return F2 + "workflow:\n" + lines


_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)

CORPUS = [
    # -- the text itself
    Malformed("empty", "", "1:1", "is empty"),
    Malformed("only comments", "# nothing\n", "1:1", "is empty"),
    Malformed("tab indentation", "functions:\n\tpython_functions: []\n", "2:1", "a tab cannot indent YAML"),
    Malformed("unclosed bracket", "functions: [1, 2\n", "2:1", "is not valid YAML"),
    Malformed("unclosed quote", 'name: "flow\n', "2:1", "is not valid YAML"),
    Malformed(
        "bad indentation",
        "functions:\n  python_functions:\n    - name: a\n   file: x\n",
        "4:4",
        "is not valid YAML",
    ),
    Malformed("colon in plain text", "name: a: b\n", "1:8", "is not valid YAML"),
    Malformed("not UTF-8", b"name: flow\ndescription: caf\xe9\n", "2:17", "is not UTF-8"),
    Malformed("control character", "name: a\x07b\n", "1:8", "is not allowed in YAML"),
    Malformed("two documents", F + "---\nname: b\n", "4:1", "a second document"),
    Malformed(
        "tag that makes an object",
        "name: !!python/object/apply:os.system ['true']\n",
        "1:7",
        "the tag !!python",
    ),
    Malformed("own tag", "name: !secret x\n", "1:7", "the tag !secret"),
    Malformed("known tag", _function("timeout: !!float 3"), "6:16", "the tag !!float"),
    Malformed("tag on a key", "!!str name: x\n", "1:1", "the tag !!str"),
    Malformed("billion laughs", _BOMB, "5:28", "has more than 50000 values"),
    Malformed("alias inside its anchor", "state: &a {x: *a}\n", "1:15", "inside its own anchor"),
    Malformed("alias without anchor", "state: {x: *b}\n", "1:12", "has no anchor"),
    Malformed("merge of a number", "state:\n  <<: 3\n", "2:3", "'<<' takes an alias"),
    Malformed("nested too deeply", "state: " + "[" * 60 + "]" * 60 + "\n", "1:48", "nested more than 40"),
    Malformed(
        "deep by aliases",
        "state:\n  a: &a " + "[" * 30 + "]" * 30 + "\n  b: " + "[" * 20 + "*a" + "]" * 20 + "\n",
        "3:26",
        "nested more than 40",
    ),
    Malformed("duplicate key", "name: a\nname: b\n", "2:1", "the key 'name' is here twice (first in line 1)"),
    Malformed("duplicate key inside", _function("timeout: 3\n      timeout: 4"), "7:7", "is here twice"),
    Malformed("key that is a list", "? [a]\n: b\n", "1:3", "a key must be plain text"),
    Malformed("endless number", "state: {n: " + "9" * 2000 + "}\n", "1:12", "more than 1,000 digits"),
    # -- the shape
    Malformed("a list", "- a\n- b\n", "1:1", "a workflow document is a mapping"),
    Malformed("plain text", "hello\n", "1:1", "a workflow document is a mapping"),
    Malformed(
        "unknown key at the top",
        "functoins: {}\n",
        "1:1",
        "unknown key 'functoins'. Did you mean 'functions'?",
    ),
    Malformed("unknown key of a function", _function("tiemout: 3"), "6:7", "Did you mean 'timeout'?"),
    Malformed(
        "key in camel case", _function("allowedImports: [json]"), "6:7", "Did you mean 'allowed_imports'?"
    ),
    Malformed(
        "unknown key of a node", _graph("  nodes:\n    - {id: a, conditoin: x}\n"), "7:15", "unknown key"
    ),
    Malformed("functions is a list", "functions: []\n", "1:12", "a mapping is needed"),
    Malformed("no functions", "name: x\n", "1:1", "there are no functions"),
    Malformed(
        "function without a name",
        "functions:\n  python_functions:\n    - {file: tools.py, function: double}\n",
        "3:7",
        "has no 'name'",
    ),
    Malformed(
        "function without a function",
        "functions:\n  python_functions:\n    - {name: a, file: tools.py}\n",
        "3:7",
        "has no 'function'",
    ),
    Malformed("timeout is text", _function('timeout: "30"'), "6:16", "timeout: a number is needed, not '30'"),
    Malformed("timeout with unit", _function("timeout: 30s"), "6:16", "a number is needed, not '30s'"),
    Malformed("timeout below zero", _function("timeout: -1"), "6:16", "greater than 0"),
    Malformed("timeout is infinite", _function("timeout: .inf"), "6:16", "less than or equal"),
    Malformed("memory is a fraction", _function("memory_limit_mb: 25.5"), "6:24", "memory_limit_mb"),
    Malformed("memory too small", _function("memory_limit_mb: 8"), "6:24", "greater than or equal to 32"),
    Malformed(
        "imports is text", _function("allowed_imports: pandas"), "6:24", "a list is needed, not 'pandas'"
    ),
    Malformed(
        "import is no name", _function("allowed_imports: [json, 'os; rm']"), "6:31", "is no Python name"
    ),
    Malformed(
        "parameters is a list", _function("parameters: [1]"), "6:19", "a mapping is needed, not a list"
    ),
    Malformed(
        "parameter is no name",
        _function("parameters: {'a b': 1}"),
        "6:20",
        "cannot be the name of a parameter",
    ),
    Malformed(
        "retry on nothing there is",
        _function("retry: {on: [timeout, time_out]}"),
        "6:29",
        "Did you mean 'timeout'",
    ),
    Malformed("retry is a word", _function("retry: often"), "6:14", "a mapping is needed"),
    Malformed("retry zero times", _function("retry: 0"), "6:14", "greater than or equal to 1"),
    Malformed("retry with unknown key", _function("retry: {attempt: 3}"), "6:15", "Did you mean 'attempts'?"),
    Malformed("on_error unknown", _function("on_error: ignore"), "6:17", "write fail, continue, 'goto NODE'"),
    Malformed("on_error goes nowhere", _function("on_error: goto cleanup"), "6:17", "which is no node"),
    Malformed("output is a number", _function("output: 3"), "6:15", "write the name of a state key"),
    Malformed("output is reserved", _function("output: _secret"), "6:15", "is reserved"),
    Malformed(
        "output path does not parse", _function("output: {x: 'a..b'}"), "6:19", "is no JMESPath expression"
    ),
    Malformed(
        "return_type unknown", _function("return_type: dict[str, Foo]"), "6:20", "there is no type 'Foo'"
    ),
    Malformed(
        "return_type is code", _function("return_type: __import__('os')"), "6:20", "does not belong there"
    ),
    Malformed("profile unknown", _function("profile: restrictive"), "6:16", "Did you mean 'restricted'?"),
    Malformed("profile trusted", _function("profile: trusted"), "6:16", "must be 'restricted' or 'native'"),
    Malformed(
        "granted file missing",
        _function("files: {read: [nowhere]}"),
        "6:22",
        "only what exists can be granted",
    ),
    Malformed(
        "environment with a value",
        _function("env: ['KEY=1']"),
        "6:13",
        "is no name of an environment variable",
    ),
    Malformed(
        "future version of kind", _graph("  nodes:\n    - {id: a, kind: agent}\n"), "7:21", "must be 'python'"
    ),
    # -- names and places
    Malformed(
        "duplicate function",
        F + "    - {name: a, file: tools.py, function: boom}\n",
        "4:14",
        "two functions called 'a'",
    ),
    Malformed(
        "duplicate node", _graph("  nodes: [{id: a}, {id: a, ref: b}]\n"), "6:25", "two nodes called 'a'"
    ),
    Malformed("module and file", _function("module: tools"), "3:7", "write one of module, file or source"),
    Malformed(
        "neither module nor file",
        "functions:\n  python_functions:\n    - {name: a, function: f}\n",
        "3:7",
        "says nowhere where it is",
    ),
    Malformed("file missing", F.replace("tools.py", "tool.py"), "3:23", "there is no file"),
    Malformed("module missing", F.replace("file: tools.py", "module: no_such.module"), "3:25", "no_such"),
    Malformed(
        "module in no package", F.replace("file: tools.py", "module: '../evil'"), "3:25", "is no Python name"
    ),
    Malformed(
        "node of unknown function",
        _graph("  nodes: [{id: x, ref: aa}]\n"),
        "6:24",
        "no such function. Did you mean 'a'?",
    ),
    Malformed("node called END", _graph("  nodes: [{id: END, ref: a}]\n"), "6:16", "cannot be a name"),
    Malformed(
        "edge to nowhere",
        _graph("  nodes: [{id: a}, {id: b}]\n  edges: [{source: a, target: c}]\n"),
        "7:31",
        "the edge's target 'c' is no node",
    ),
    Malformed(
        "edge from END",
        _graph("  nodes: [{id: a}, {id: b}]\n  edges: [{source: END, target: a}]\n"),
        "7:20",
        "the edge's source 'END' is no node",
    ),
    Malformed(
        "edge from a node that stops",
        _graph("  nodes: [{id: a, stop: true}, {id: b}]\n  edges: [{source: a, target: b}]\n"),
        "7:20",
        "has 'stop: true'",
    ),
    Malformed(
        "condition on a join",
        _graph("  nodes: [{id: a}, {id: b}]\n  edges: [{source: [a, b], target: END, condition: state.x}]\n"),
        "7:11",
        "cannot have a condition",
    ),
    Malformed(
        "condition is Python",
        _graph(
            "  nodes: [{id: a}, {id: b}]\n  edges:\n"
            "    - {source: a, target: b, condition: \"state['x'] > 3\"}\n"
        ),
        "8:41",
        "no JMESPath expression",
    ),
    Malformed(
        "condition without back quotes",
        _graph(
            "  nodes: [{id: a}, {id: b}]\n  edges:\n    - {source: a, target: b, condition: state.x > 3}\n"
        ),
        "8:41",
        "numbers in back quotes",
    ),
    Malformed(
        "cycle that never ends",
        _graph(
            "  nodes: [{id: a}, {id: b}]\n  edges:\n"
            "    - {source: a, target: b}\n    - {source: b, target: a}\n"
        ),
        "9:7",
        "a -> b -> a runs for ever",
    ),
    Malformed(
        "node that leads to itself",
        _graph("  nodes: [{id: a}]\n  edges: [{source: a, target: a}]\n"),
        "7:11",
        "a -> a runs for ever",
    ),
    Malformed(
        "node that is never reached",
        _graph("  nodes: [{id: a}, {id: b}]\n  edges: [{source: a, target: END}]\n"),
        "6:20",
        "is never reached",
    ),
    Malformed(
        "sequential with edges",
        _graph("  type: sequential\n  nodes: [{id: a}, {id: b}]\n  edges: [{source: a, target: b}]\n"),
        "8:10",
        "a sequential workflow has no edges",
    ),
    Malformed("no nodes", _graph("  nodes: []\n"), "6:10", "the workflow has no nodes"),
    Malformed(
        "edge without targets",
        _graph("  nodes: [{id: a}]\n  edges: [{source: a, target: []}]\n"),
        "7:31",
        "is an empty list",
    ),
    # -- templates
    Malformed("template never closed", _function("parameters: {x: '${state.a'}"), "6:23", "is never closed"),
    Malformed("template empty", _function("parameters: {x: '${}'}"), "6:23", "the expression is empty"),
    Malformed(
        "template of another root", _function("parameters: {x: '${env.HOME}'}"), "6:23", "begins with 'env'"
    ),
    Malformed(
        "template is Python", _function("parameters: {x: [1, {y: '${().__class__}'}]}"), "6:31", "no JMESPath"
    ),
    Malformed(
        "template calls Python",
        _function("parameters: {x: \"${__import__('os')}\"}"),
        "6:23",
        "has no function",
    ),
    Malformed(
        "template with a bad default", _function("parameters: {x: '${state.a ?? b}'}"), "6:23", "is no JSON"
    ),
    # -- includes
    Malformed("include missing", "include: nowhere.yaml\n", "1:10", "there is no file 'nowhere.yaml'"),
    Malformed("include in a circle", "include: cycle_a.yaml\n", "1:10", "includes itself", "cycle_b.yaml"),
    Malformed("include is a mapping", "include: {a: b}\n", "1:10", "include takes paths"),
    Malformed("defaults with unknown key", "defaults: {timout: 3}\n" + F, "1:12", "Did you mean 'timeout'?"),
]
