"""The work pools `cpu` and `gpu`, and in each a deployment that runs one stage of the graph."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker

from pipeline.orchestrate.graph import StageNode
from pipeline.preload.run_engine import MODULE

POOLS = ("cpu", "gpu")
CLONE, WORKER = "FRCNN_WORKER_CLONE", "FRCNN_WORKER_NAME"
"""Environment variables of a worker: its clone, and what Prefect knows it by."""
_FLOW = "stage"
_ENTRYPOINT = "pipeline.workers.stage_run.run_requested_stage"
_COMMAND = f"python -S -m {MODULE}"


def pool_of(node: StageNode) -> str:
    """Where a stage runs, as its `meta.gpu` says."""
    return "gpu" if node.meta.gpu else "cpu"


def register(client: SyncPrefectClient) -> dict[str, UUID]:
    """Have the pools and their deployments on the server; the deployments' ids by pool."""
    flow = client.create_flow_from_name(_FLOW)
    deployments = {}
    for pool in POOLS:
        template = ProcessWorker.get_default_base_job_template()
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))
        # Names of modules, not paths: each worker finds them in its own clone. Without a command Prefect would import
        # itself twice for a run, once to look for a workspace.
        deployments[pool] = client.create_deployment(
            flow,
            pool,
            work_pool_name=pool,
            entrypoint=_ENTRYPOINT,
            enforce_parameter_schema=False,
            job_variables={"command": _COMMAND},
        )
    return deployments


def workers_online(client: SyncPrefectClient, pool: str) -> set[str]:
    """The names of the pool's workers that give signs of life."""
    return {worker.name for worker in client.read_workers_for_work_pool(pool) if worker.status == WorkerStatus.ONLINE}
