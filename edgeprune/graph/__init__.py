"""What is connected to what: channel ids, prunable groups, surgery.

trace.py     walks a functional model and asks the rule of every call       -> Trace
groups.py    solves the unions: units that go together, groups that cost alike -> Groups
network.py   every count as a function of the units kept                    -> records.network.Network
surgery.py   the smaller Keras model
"""
