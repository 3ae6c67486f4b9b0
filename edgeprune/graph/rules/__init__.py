"""Rules: how channels pass one layer family. One family per file; table.py lists them all.

A rule has two halves. `trace` says which ids leave the call, which ids lie on the weights and what work is
done. `resize` changes the layer's config to the kept lengths. A configuration a rule does not cover
raises NoRuleError with the reason, and the walk freezes it by name.
"""
