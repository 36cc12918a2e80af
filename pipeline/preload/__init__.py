"""Processes that have imported what others need, and fork one for each that asks, since imports take seconds.

`serving` is what such a process does, and `client` what asks it. `stage_python` is the one for stages, `stage_client`
how a stage asks it, and `pipeline.orchestrate.preloading` starts it for a run. That of a worker's runs is
`pipeline.workers.warm_engine`.
"""
