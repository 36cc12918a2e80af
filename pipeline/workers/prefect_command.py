"""`python -m pipeline.workers.prefect_command ARGUMENTS`: Prefect's command with clients that repeat a request soon."""

from __future__ import annotations

from prefect.cli import app

from pipeline.workers.client import repeat_soon_in_this_process

if __name__ == "__main__":
    repeat_soon_in_this_process()
    app()
