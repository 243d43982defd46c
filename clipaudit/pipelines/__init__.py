"""Stages composed, a module a job. Only here do queues, batches and the store meet."""
