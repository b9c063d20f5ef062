"""Every bound of the system, named, with its unit; relations between them are checked at import."""

from __future__ import annotations

# What travels
VALUE_BYTES_MAX = 512 * 1024
OUTPUT_HEADROOM_BYTES = 64 * 1024  #: outputs may outgrow their input by this much
MESSAGE_BYTES_MAX = 1024 * 1024
HEADERS_MAX = 12
LABEL_BYTES = 16  #: of a packed label
PURPOSES_MAX = 16  #: words of a policy for purposes: bits of a label's mask
FOREIGN_HEADERS_BYTES_MAX = 4096  #: names and values of headers that are not ours, forwarded as they are
KEY_BYTES_MAX = 256  #: more of a malformed record's key is cut; a device's name has at most 63
TEXT_CHARACTERS_MAX = 1000  #: what somebody said, or several words: one value of a column
TOKEN_CHARACTERS_MAX = 100  #: one word of a device or a program
MAGNITUDE_MAX = 1e50  #: of a number in a column: sums of the squares of its squares stay finite
EVENTS_PER_BATCH_MAX = 4096
REJECTED_BYTES_MAX = 64 * 1024  #: malformed bytes kept on glasses.rejected; the digest covers the whole
NUMBER_MAX = 2**62
REVISION_MAX = 999_999  #: corrections of one event
TIME_NS_MAX = 2**62
NAMES_KNOWN_MAX = 16_384  #: names of streams that were checked and need no second look

# A device's clock, where a policy has no [clock] of its own
CLOCK_AHEAD_S_DEFAULT = 3600
CLOCK_OLD_DAYS_DEFAULT = 30
CLOCK_AHEAD_S_MAX = 7 * 86_400
CLOCK_OLD_DAYS_MAX = 3650

# A policy's text, before anybody parses it, and what checking and asking it may cost
POLICY_BYTES_MAX = 256 * 1024
POLICY_TOKENS_MAX = 65_536  #: texts, brackets, names, numbers and signs of its TOML
POLICY_DEPTH_MAX = 8  #: of brackets within one another, and of the parts of a dotted key
POLICY_ZONES_MAX = 64
POLICY_SINKS_MAX = 64
POLICY_REQUIREMENTS_MAX = 1024
POLICY_EXAMPLES_MAX = 256
CONDITION_CHARACTERS_MAX = 2000
CONDITION_TOKENS_MAX = 256
CONDITION_DEPTH_MAX = 16  #: of brackets within one another
CONDITION_LIST_MAX = 64  #: members of one list; a fact holds no more either
CONDITION_STEPS_MAX = 32_768  #: tokens looked at for one event: within .all() or .exists() once a member
POLICY_STEPS_MAX = 100_000  #: of all conditions of a policy together, for one event
POLICY_CHECK_STEPS_MAX = 2_000_000  #: of all conditions together, over all that is tried out of them
POLICY_CHECK_S_MAX = 20.0  #: until the child that checks one is ended, waiting for a processor included
POLICY_CHECK_BYTES_MAX = 1024 * 1024 * 1024  #: address space of that child
RETENTION_DAYS_TOLD_MAX = 3_652_500  #: the store says of longer ones so many: 10,000 years
POLICY_VERSIONS_MAX = 256  #: known to a worker; further ones are refused
POLICIES_KEPT = 16  #: of stores that were read, in a process
POLICY_REFUSALS_MAX = 1000  #: kept until an agent puts them on record; beyond, the oldest are only counted
POLICY_REFUSALS_PER_FETCH_MAX = 100  #: put on record with one fetch

# A device's state
SEEN_RANGES_MAX = 64  #: per stream; more holes than this and the oldest are declared missing
RECENT_PER_KIND_MAX = 8  #: events kept of each kind that the situation of a query shows
OPEN_ANSWERS_MAX = 64  #: answers that still wait for feedback
STREAMS_PER_DEVICE_MAX = 32
OPEN_WINDOWS_BYTES_MAX = (
    1700 * 1024
)  #: packed samples of a device's open windows: what its streams and all operators' lengths come to
MEMORIES_BYTES_MAX = 16 * 1024  #: JSON of what a device's operators remember, together
DEVICE_STATE_BYTES_MAX = (
    3 * 1024 * 1024
)  #: what the limits of its parts come to, as it is stored; nearly all of it gaze that stands still
STATES_BYTES_MAX = 48 * 1024 * 1024  #: decoded states of devices in a worker; the rest lies in its file
SHELF_CACHE_BYTES = 4 * 1024 * 1024  #: of that file in memory
ATTRIBUTE_COMBINATIONS_MAX = 4096  #: memoised zone decisions
CONDITION_RESULTS_MAX = 256  #: memoised results of one condition or requirement
SEEN_RECENT_BATCHES = 8  #: per stream, known byte for byte: 32 bytes each
SEEN_MARKS_MAX = 16  #: per stream, times by which older numbers are known: 20 bytes each
CLOCK_SLACK_NS = 60_000_000_000  #: how far a repeat's time may lie outside of what the marks say

# What is said
FOREIGN_LOG_INTERVAL_S = 10.0  #: a line of foreign code is logged so seldom

WAIT_SAID_S = 5.0  #: that something waits until it says for what
LOOK_INTERVAL_S = 3.0  #: between two looks of a worker at its topics, groups and commits
GROUP_CHARACTERS_MAX = 128  #: of the name of an agent's consumer group
GROUP_MEMBERS_SAID_MAX = 5  #: of a group, by client id and host; the others are counted
CLIENT_ID_CHARACTERS_MAX = 64  #: of what a member of a group calls itself

# Consent
CONSENTS_PER_WEARER_MAX = 64  #: words kept; beyond, the oldest are folded into those before them
CONSENTS_WAITING_MAX = 8  #: words of a wearer that came before their turn
CONSENT_CHANGES_PER_HOUR_MAX = 32  #: of one wearer, besides what takes something away
CONSENT_BYTES_MAX = 8192  #: of one word on glasses.consents, as it is stored
CONSENT_TAKEUP_BYTES_MAX = 256 * 1024  #: of one recorded input; what is more becomes a further one
CONSENT_SNAPSHOTS_MAX = 64  #: states of a wearer's words that lie ready, for partitions that are behind

# Transport
FETCH_RECORDS_MAX = 5000
FETCH_RECORDS_FIRST = 250  #: of the first fetch after an assignment; full ones are followed by twice as much
FETCH_WAIT_MS = 150
FETCHES_IN_FLIGHT_MAX = 2  #: per partition
FETCH_BYTES_MAX = 6 * 1024 * 1024  #: values of one fetch
FETCHED_BYTES_MAX = 16 * 1024 * 1024  #: values in flight in a worker, all its partitions together
STATE_RECORD_BYTES_MAX = 512 * 1024  #: of one entry of a checkpoint; a longer one is written in parts
COLLECT_INTERVAL_S = 1.0  #: between two looks for reference cycles
CHECKPOINT_INTERVAL_S = 3.0
CHECKPOINT_RECORDS_MAX = (
    10_000  #: per partition; a new owner runs so many again silently, and output stands still meanwhile
)
SESSION_TIMEOUT_S = 6.0
REBALANCE_TIMEOUT_S = 30.0  #: that a group waits for a member that lives and does not rejoin
HEARTBEAT_INTERVAL_S = (
    0.3  #: how late a worker may learn that its group assigns anew; a stall can hold two of these
)
OFFSETS_RETENTION_MINUTES = 10 * 366 * 24 * 60  #: of a group that is empty; Kafka's own are seven days
TRANSACTION_TIMEOUT_MS = 10_000
TRANSACTION_BACKOFF_MS = 5  #: only for CONCURRENT_TRANSACTIONS
CONNECTION_BACKOFF_MAX_S = 1.0
STATUS_WAIT_S = 3.0  #: that a status waits for a broker
REFUSAL_LOOK_S = 1.0  #: that a client may take to start, before anybody looks whether it ever can
REFUSAL_WAIT_S = 2.0  #: that such a look takes for each address at most
SECRET_BYTES_MAX = 65_536  #: of a file with a password or a token
PASSED_OVER_SAID_MAX = 100  #: records of one topic that are said one by one; beyond, every so many
OUTSIDE_PAUSE_MAX_S = 5.0  #: between attempts at a fetch that fails for an outside reason
EMPTY_ASSIGNMENT_REJOIN_S = 3.0

METRICS_INTERVAL_S = 5.0
BROKER_LOG_BYTES_MAX = 16 * 1024 * 1024  #: of the embedded broker's kafka.log, which then begins anew

# Store
STORE_VERSION = 4  #: of its layout
PUBLISH_INTERVAL_MS = 300
EPOCHS_AT_HAND_MAX = 512  #: in the hot file and in a catalog; older ones lie in segments
HOT_MEMORY_MB = 256  #: of DuckDB for the hot file, and for looking into segments
HOT_LOG_BYTES_MAX = 64 * 1024 * 1024  #: of the hot file's log, until its rows are moved into the file
CURRENT_FILES_MAX = 200
HOT_BYTES_MAX = 8 * 1024 * 1024  #: of the hot file, until it is made anew
HOT_GROWTH_MAX = 4  #: times what it had then
FOLD_EPOCHS_MIN = 16  #: that are fresh, until they are folded
FOLD_FILES_MIN = 60  #: of fresh epochs, until they are folded
FOLD_ROWS_MAX = 200_000  #: of fresh epochs that one fold takes in, unless a single one has more
FOLD_CHUNK_ROWS = 100_000  #: that a fold has in memory at once
FOLD_MEMORY_MB = 192  #: of DuckDB for a fold
FOLD_WAIT_MAX_S = 2.0  #: that an epoch waits for a fold when files are too many
FOLD_PAUSE_MAX_S = 300.0  #: until a fold that failed is tried again
RESIDUE_ROWS = 8192  #: of one audience; fewer share a file with others
TIER_ROWS = 512  #: of a file in the lowest tier; each further tier has TIER_FACTOR times as many
TIER_FACTOR = 4
TIER_ROWS_MAX = 4_000_000  #: a file with more is left alone, unless the table has SHARE_MIN times as many
TIER_SHARE_MIN = 16
TIER_FILES_MAX = 150  #: current files; beyond, the group with most is folded, whatever its tiers
ROW_GROUP_ROWS = 16_384  #: of a folded segment
RUN_CHILDREN_MAX = 2**18  #: of an edge run that folds made
SUPERSEDED_GRACE_S = 60.0  #: that readers may go on with an epoch after a newer one replaced its files
MIGRATION_FILE_ROWS = 1_000_000  #: of old segments that become one
MIGRATION_SAID_S = 5.0  #: between two lines about how far it is
CATALOGS_MAX = 16  #: who opens a store follows the name `catalog.duckdb` to one of the newest
WALK_HOPS_MAX = 10_000
WALK_EVENTS_MAX = 1_000_000  #: that a question about what was made of data goes through
PAGE_BOXES_MAX = 1000  #: of one drawing; further ones are left out, and counted
PAGE_GENERATIONS_MAX = 200  #: of the loop that one page draws
PAGE_ROWS_MAX = (
    200  #: of one table of a page; the page says how many there are beyond, its JSON has up to 1,000
)
PAGE_EPOCHS_MAX = 400  #: that the slider goes through; of more kept ones, so many evenly
PAGE_WORD_CHARACTERS_MAX = 500  #: of one value of a page's address
PAGE_THREADS = 4  #: that read the store at one time for the page's viewers
PAGE_REQUESTS_MAX = 64  #: at one time; more are told to come back
PAGE_LIVE_REFRESH_S = 5.0  #: between two looks of the live page, however many look at it
PAGE_EXPORT_PAGES_MAX = 2000  #: of a static export; links beyond lead to a page that says so
WALK_PARTS_MAX = 2**20  #: intervals of numbers that one edge run gives a walk
ANSWER_ROWS_MAX = 1000
TREE_HOPS_MAX = 12  #: of a walk that a terminal shows as a tree; a deeper one is a table there too
INDEX_ROWS_MIN = 4_096  #: of edges and runs of zones, that a new index file counts as at least
DIFF_RUNS_MAX = 10_000  #: of events that decisions would differ about in one way, named in JSON
INDEX_BLOCK_BYTES = 32_768  #: of an index file: in smaller blocks DuckDB does not pack integers
EXPORT_INTERVAL_S = 10.0  #: between two looks for an epoch of an export that follows the store, at least
EXPORT_REST = 4  #: times as long as the last file took, if that is longer
SOURCES_KEPT = 128  #: of which an open store keeps what questions about them need again
ZONE_RUNS_KEPT = 4096  #: of one such source; where there are more, they are looked up each time
READER_MEMORY_MB = 2048  #: of DuckDB for one reader; a question that needs more fails alone
ROLE_MEMORY_MB = 2048  #: of the DuckDB that a role's statements run in
ROLE_ROWS_MB = 256  #: of one table's rows that are set apart for a role's statement
TABLE_MB = 1024  #: of the rows that a program is handed as one table
STANDARD_EDGES_MAX = 5_000_000  #: between runs, in a file of OpenLineage, PROV or GraphML
STATEMENT_BYTES_MAX = 64 * 1024  #: of a statement of SQL; reads of restricted zones are recorded whole
ROLES_BYTES_MAX = 64 * 1024  #: of roles.toml

# What the store's writer believes of a record of lineage, whoever wrote it
EVENTS_PER_FETCH_MAX = FETCH_RECORDS_MAX * EVENTS_PER_BATCH_MAX  #: what one row can tell of at most
PARENTS_PER_CHILD_MAX = 2**20  #: in one stream: examples that a model was made of
LINEAGE_ROWS_MAX = 4000  #: of one record
GATHER_BYTES = 4 * 1024 * 1024  #: of records that wait to be taken in together
DECODE_BYTES = 4 * 1024 * 1024  #: of records, converted to columns at once
LINEAGE_CHILDREN_MAX = 2**18  #: of all edges of one record
LINEAGE_TEXT_BYTES_MAX = 4096  #: of one text of a row: reason, rule, zone
STREAMS_KNOWN_MAX = 65_536  #: streams whose highest number the writer has at hand; the others are looked up

# Training
ADMITTED_MAX = 1_000_000  #: examples that training's stored state may name
RETRAIN_EVERY_EXAMPLES = 12
CHILD_IDLE_S = 20.0  #: of a child process without work, then its memory is given back
MODEL_FEATURES = 1024  #: hashed n-grams that a model has a weight for, by intent
INTENTS_MAX = 64  #: names in a policy's `intents`: what a model can tell apart
INTENT_BYTES_MAX = 6 * MODEL_FEATURES + 128  #: of a model's record, by intent: weights in base64, a name
MANIFEST_BYTES_MAX = 448 * 1024  #: what a run's examples may take of a model's record, its headers included
MODEL_BYTES_MAX = MESSAGE_BYTES_MAX - OUTPUT_HEADROOM_BYTES  #: of a model's record, its parents included
LEFT_OUT_MAX = (
    1024  #: examples of runs that failed, which later runs leave out; then the oldest come in again
)
CANDIDATES_NAMED_MAX = 8  #: examples that the sentence about a failed run names
MODELS_KEPT_MAX = 64  #: newest model versions in memory; an older one that a state names is read again
MODELS_WAITING_MAX = 8  #: model versions whose policy is not known yet
MODEL_NUMBERS_AHEAD_MAX = 1024  #: above the highest known; runs that policy refused use numbers up
EXAMPLES_AHEAD_MS_MAX = 3_600_000  #: time of an example ahead of the broker's: training's "now" goes by it

if VALUE_BYTES_MAX + OUTPUT_HEADROOM_BYTES > MESSAGE_BYTES_MAX:
    raise AssertionError("an output made of the largest batch must fit one Kafka record")
if CONSENT_BYTES_MAX > CONSENT_TAKEUP_BYTES_MAX or 2 * CONSENT_TAKEUP_BYTES_MAX > MESSAGE_BYTES_MAX:
    raise AssertionError("one word must fit a recorded input, and that a Kafka record, quoted in its row")
if 4 * FOREIGN_HEADERS_BYTES_MAX > OUTPUT_HEADROOM_BYTES:
    raise AssertionError(
        "the headers of an output, ours and those that are forwarded, "
        "must fit what it may outgrow its input by"
    )
if INTENTS_MAX * INTENT_BYTES_MAX + MANIFEST_BYTES_MAX > MODEL_BYTES_MAX:
    raise AssertionError(
        "the model of the most intents, with the longest manifest, must fit one Kafka record"
    )
if HEARTBEAT_INTERVAL_S * 3 > SESSION_TIMEOUT_S:
    raise AssertionError("a worker must miss three heartbeats before it is put out of the group")
