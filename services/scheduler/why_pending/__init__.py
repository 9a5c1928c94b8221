"""
Why tasks are pending.

`node_verdicts` finds the reasons of the nodes, `explanation` adds all others; `explainer` collects the facts for a request,
`refresh` stores sentences for lists, and `counts` counts tasks by reason for metrics.
"""
