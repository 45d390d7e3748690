"""How long things in a sync take at most, in seconds, and how these times depend on each other.

Read them as `timings.LEASE`, so that tests can change one.
"""

# A run and its worker
LEASE = 10
"""A worker that has not renewed its lease for this long has lost its run."""
RENEWAL = 3
"""A worker renews its lease this often."""
BLOCKED = 15
"""A job whose event loop has been blocked for this long, by a provider's code, ends its process."""
GRACE = 6
"""When its process has to end, a run may take this long for the page at hand."""
CANCELLATION = 2
"""What is cancelled has this long to end."""
RUN_LIMIT = 25 * 60
"""The longest that a source's time limit can be, from the first worker's start; the next run goes on from there."""
RESUMABLE = 24 * 60 * 60
"""A run goes on where the one before has stopped if that was no longer ago."""
JOB_LIMIT = 30 * 60
"""RQ kills a job after this; it is for one that cannot end itself."""

# PostgreSQL, for worker and scheduler
STATEMENT = 5
"""One statement, including the connection that it may need."""
RETRY = 60
"""A statement that a run cannot go on without is tried again for this long."""

# Messages
QUEUED = 3
"""A run that has been queued for this long without a worker is stalled: its message may be lost."""
ABANDONED = 30 * 60
"""A run of another source that no worker has taken for this long is ended: nobody reads that source any more."""
DEDUP = 3
"""A message for the same attempt of a run is not sent again within this time."""
RESULT = 5 * 60
"""RQ keeps a job that has ended for this long."""
FAILURE = 60 * 60
"""The same for a job that failed."""

# The scheduler
PASS = 1
"""The pause between two passes, each of which sweeps for stalled runs."""
TAKEOVER = 15
"""A killed worker's run goes on at another one within this time; the documentation says so."""
SLOT_TOLERANCE = 5
"""A tick that is this early claims the next slot: clocks differ."""
REASSERT = 60
"""The schedule is compared with the settings this often."""
CLEAN = 30
"""RQ's registries are cleaned this often."""
ALIVE = 15
"""A scheduler that has not been heard of for this long is reported as not alive."""
FORGET = 60
"""And after this it is forgotten."""
FIRST_RETRY = 10
"""The pause after a run that failed for a while only; it doubles with each failure, up to the interval."""

# The worker
IDLE_HEARTBEAT = 5
"""An idle worker is heard of this often."""
MONITORING = 3
"""A worker looks after its job this often."""
RECONNECT = 2
"""The longest pause between two attempts to reach Redis."""

SHORTEST_INTERVAL = 60
"""The least that SYNC_INTERVAL_MINUTES can be."""
TERMINATION = 30
"""Kubernetes and docker compose wait longer than this before they kill a process that has to end."""

assert RENEWAL + STATEMENT < LEASE, "a renewal that takes as long as it may is still in time"
assert LEASE >= 3 * RENEWAL, "a lease outlives two renewals that failed"
assert LEASE < BLOCKED, "a process that blocks its event loop has lost its lease before it ends"
assert GRACE + CANCELLATION + 2 * STATEMENT < TERMINATION, "a run is released before its process is killed"
# PostgreSQL may be away when the slot is read, when it is claimed, when the run is claimed and when it ends.
assert 4 * RETRY + RUN_LIMIT + CANCELLATION < JOB_LIMIT, "a run ends itself before RQ ends it"
assert DEDUP <= QUEUED, "the message of a stalled run can be sent again"
assert PASS < QUEUED, "a sweep comes in time"
assert LEASE + DEDUP + PASS < TAKEOVER, "the sweep finds a killed worker's run in time"
assert SLOT_TOLERANCE < SHORTEST_INTERVAL / 2, "a tick does not claim a slot that is not its own"
assert PASS + STATEMENT < ALIVE < FORGET, "a scheduler that waits for PostgreSQL is alive"
assert FIRST_RETRY <= SHORTEST_INTERVAL, "a first sync is tried again before its next tick"
