"""Owns the making of samples that have a shape of their own; knows not where values come from."""

from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from server.metrics.catalog import METRICS

_BOUNDS = {
    metric.name: [*map(floatToGoString, metric.buckets), "+Inf"]
    for metric in METRICS
    if metric.buckets
}


def histogram(
    name: str, labels: dict[str, str], counts: Sequence[int], sum_s: float
) -> list[Sample]:
    """Return the samples of one histogram.

    Args:
        counts: of each bucket, that without an upper bound included.
    """
    cumulated = list(accumulate(counts))
    return [
        *(
            Sample(f"{name}_bucket", {**labels, "le": bound}, count)
            for bound, count in zip(_BOUNDS[name], cumulated, strict=True)
        ),
        Sample(f"{name}_count", labels, cumulated[-1]),
        Sample(f"{name}_sum", labels, sum_s),
    ]
