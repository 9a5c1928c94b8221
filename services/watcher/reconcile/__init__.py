"""
Reconcile the records of one node's tasks with the runs on it.

`diff` compares both and yields actions; `enact` carries them out; `record_ends` writes `running` and `over`, with the ending that
`outcome` chooses; `settle` counts the usage and removes the run.
"""
