"""Metrics of what a worker follows: the model that serves, and the zones of the policy in force."""

from __future__ import annotations

from streams import metrics
from streams.pipeline.followed import Followed


class Showing:
    """Sets the gauges of what was read last, when the metrics are read; may be called by any thread."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self._zones: frozenset[str] = frozenset()

    def show(self) -> None:
        """Set the gauges."""
        self._show_model()
        self._show_zones()

    def _show_model(self) -> None:
        models = self._followed.models.now
        serving = models.versions.get(models.serving)
        if serving is None:
            return
        metrics.gauge("model_generation", serving.version)
        metrics.gauge("model_accuracy_ratio", serving.accuracy)
        metrics.gauge("model_examples", serving.manifest.examples)
        metrics.gauge("model_trained_timestamp_seconds", serving.trained_ns / 1e9)
        metrics.gauge("model_retrain_by_timestamp_seconds", serving.retrain_by_ns / 1e9)

    def _show_zones(self) -> None:
        policies = self._followed.policies.now
        policy = policies.versions.get(policies.current)
        if policy is None:
            return
        for zone in policy.zones:
            metrics.gauge("zone_restricted", zone.restricted, zone=zone.name)
        zones = frozenset(zone.name for zone in policy.zones)
        for name in self._zones - zones:
            metrics.forget("zone_restricted", zone=name)
        self._zones = zones
