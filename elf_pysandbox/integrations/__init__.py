"""Other people's engines: python nodes for LangGraph and ELF, and the workflow runner.

`node` binds state to a call and its outcome back to state · `attempts` repeats calls · `results` is what an outcome
does to the state · `executor` runs live functions · `workflow` is a document that can run · `graph` compiles it to
LangGraph · `langgraph` holds nodes for other people's graphs · `picture` draws · `elf` is ELF.
"""
