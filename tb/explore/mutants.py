"""Bugs of the device's contract, planted in the RTL, each found by a search over the schedules of the RTL.

The functional device, as the specification of what the RTL does at its boundary, is the judge
(tb.explore.compare); most of the plants are also caught by the oracle under stress (tests/test_plants.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from tb import plants


@dataclass(frozen=True)
class DeviceMutant:
    """One bug: `plant` is a name of tb.plants, `config` what shows it, `kind` the failure that tells."""

    name: str
    about: str
    plant: str
    config: str = "contract"
    kind: str = "Mismatch"
    #: what of the contract it breaks, in the words of the catalogue
    entries: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Where in rtl/ it is planted."""
        return next(p for p in (*plants.RTL, *plants.EXPLORED) if p.name == self.plant).edits[0][0]


DEVICE_MUTANTS = (
    DeviceMutant(
        "late_fill",
        "a fill taken before an invalidation is written to the cache after it; the page is used again",
        "fill-after-invalidate",
        entries=("late fill",),
    ),
    DeviceMutant(
        "early_completion",
        "an invalidation completes while an access that used the translation has no response",
        "completion-before-drain",
        entries=("early completion",),
    ),
    DeviceMutant(
        "waiter_old_pfn",
        "an access that hit, but waited behind a miss of its ID, goes on with the frame that it had",
        "waiter-keeps-pfn",
        entries=("waiter answered with the old pfn",),
    ),
    DeviceMutant(
        "fault_lost",
        "a fault record that meets a full ring is dropped: its accesses wait for ever",
        "fault-lost",
        entries=("fault lost on overflow",),
    ),
    DeviceMutant(
        "pasid_reuse",
        "a detach completes with accesses of the PASID in flight: the PASID gets a new owner under them",
        "detach-before-drain",
        entries=("PASID reuse before detach completes",),
    ),
    DeviceMutant(
        "page_size_change",
        "a 4-KiB fill inside a 2-MiB translation, without the break: the larger one goes on being used",
        "larger-page-wins",
        entries=("page-size change without break-before-make",),
    ),
    DeviceMutant(
        "permission_upgrade",
        "a write uses a read-only translation instead of asking for more",
        "permission-ignored",
        entries=("permission upgrade without refault",),
    ),
    DeviceMutant(
        "completion_before_writes",
        "an invalidation completes while a write that used the translation has not reached memory",
        "drain-forgets-writes",
        entries=("completion posted before writes",),
    ),
    DeviceMutant(
        "fault_overwritten",
        "a fault record overwrites one that the host has not read",
        "fault-overwritten",
        entries=("fault lost on overflow",),
    ),
    DeviceMutant("foreign_translation", "a PASID uses the translation of another", "pasid-ignored"),
    DeviceMutant(
        "range_short", "the last page of an invalidated range stays in the cache", "scrub-stops-short"
    ),
    DeviceMutant(
        "huge_page_survives",
        "invalidating 4 KiB inside a 2-MiB page leaves its translation",
        "huge-page-survives",
        entries=("page-size change without break-before-make",),
    ),
    DeviceMutant(
        "port_not_scrubbed", "the write port's copy of the cache misses invalidations", "writes-not-scrubbed"
    ),
    DeviceMutant(
        "drain_by_small_page",
        "a completion does not wait for an access through a 2-MiB translation to another page of it",
        "drain-forgets-size",
        entries=("early completion",),
    ),
    DeviceMutant("second_fault", "two misses of a page in successive cycles make two faults", "second-fault"),
    DeviceMutant(
        "success_is_error", "the answer Success ends the accesses with an error", "success-ends-access"
    ),
)
