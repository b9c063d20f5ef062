"""Every bound of the system, named, with its unit; relations between them are checked at import."""

from __future__ import annotations

# What travels
VALUE_BYTES_MAX = 512 * 1024
OUTPUT_HEADROOM_BYTES = 64 * 1024  #: an output may be larger than its input by this much
MESSAGE_BYTES_MAX = 1024 * 1024
HEADERS_MAX = 14  #: of any record
CAPTURED_HEADERS_MAX = 10
LABEL_BYTES = 16  #: of a packed label
PURPOSES_MAX = 16  #: purposes in a policy: bits of a label's mask
FOREIGN_HEADERS_BYTES_MAX = 4096  #: names and values of headers that are not ours and are forwarded unchanged
KEY_BYTES_MAX = 256  #: the key of a malformed record is cut to this; a device's name has at most 63
TEXT_CHARACTERS_MAX = 1000  #: of a value of a column: one sentence or several words of a person
TOKEN_CHARACTERS_MAX = 100  #: of a single word, from a device or a program
MAGNITUDE_MAX = 1e50  #: of a number in a column: sums of its fourth power stay finite
EVENTS_PER_BATCH_MAX = 4096
REJECTED_BYTES_MAX = 64 * 1024  #: malformed bytes kept on glasses.rejected; the digest covers the whole
NUMBER_MAX = 2**62
REVISION_MAX = 999_999  #: corrections of one event
TIME_NS_MAX = 2**62
NAMES_KNOWN_MAX = 16_384  #: names of streams that were checked and need no second check

# A device's clock, where a policy has no [clock] of its own
CLOCK_AHEAD_S_DEFAULT = 3600
CLOCK_OLD_DAYS_DEFAULT = 30
CLOCK_AHEAD_S_MAX = 7 * 86_400
CLOCK_OLD_DAYS_MAX = 3650

# A policy's text before it is parsed, and the cost of checking and evaluating it
POLICY_BYTES_MAX = 256 * 1024
POLICY_TOKENS_MAX = 65_536  #: strings, brackets, names, numbers and operators of its TOML
POLICY_DEPTH_MAX = 8  #: nested brackets, and parts of a dotted key
POLICY_ZONES_MAX = 64
POLICY_SINKS_MAX = 64
POLICY_REQUIREMENTS_MAX = 1024
POLICY_EXAMPLES_MAX = 256
CONDITION_CHARACTERS_MAX = 2000
CONDITION_TOKENS_MAX = 256
CONDITION_DEPTH_MAX = 16  #: nested brackets
CONDITION_LIST_MAX = 64  #: members of a list in a condition, and of a list in a fact
CONDITION_STEPS_MAX = 32_768  #: tokens evaluated for one event; in .all() or .exists() for each member
POLICY_STEPS_MAX = 100_000  #: of all conditions of a policy together, for one event
POLICY_CHECK_STEPS_MAX = 2_000_000  #: of all conditions together, over all cases that the check tries
POLICY_CHECK_S_MAX = 20.0  #: until the process that checks a policy is killed, waiting for a CPU included
POLICY_CHECK_BYTES_MAX = 1024 * 1024 * 1024  #: address space of that process
RETENTION_DAYS_TOLD_MAX = 3_652_500  #: the store shows longer retentions as this: 10,000 years
POLICY_VERSIONS_MAX = 256  #: known to a worker; further versions are refused
POLICIES_KEPT = 16  #: policies read from stores that a process keeps
POLICY_REFUSALS_MAX = 1000  #: kept until an agent records them; beyond this, the oldest are only counted
POLICY_REFUSALS_PER_FETCH_MAX = 100  #: recorded with one fetch

# A device's state
SEEN_RANGES_MAX = 64  #: per stream; with more holes, the oldest are declared missing
RECENT_PER_KIND_MAX = 8  #: events of each kind that are kept for the situation of a query
REVIEW_WAIT_S, REVIEW_LOOK_S = 20.0, 0.3  #: for what becomes of a review, and how often to look
OPEN_ANSWERS_MAX = 64  #: answers that still wait for feedback
STREAMS_PER_DEVICE_MAX = 32
OPEN_WINDOWS_BYTES_MAX = (
    1700 * 1024
)  #: packed samples of a device's open windows: the maximum over its streams and all operators' lengths
LOOK_BACK_WINDOWS = 600  #: by which a late sample may lie behind the newest of its stream, in whole windows
KEPT_WINDOWS_MAX = 64  #: closed windows that an operator keeps of one stream for late samples
KEPT_BYTES_MAX = 32 * 1024  #: of their samples; an operator of larger windows keeps fewer
MEMORIES_BYTES_MAX = 16 * 1024  #: JSON of the memory of all operators for one device
DEVICE_STATE_BYTES_MAX = (
    3 * 1024 * 1024
)  #: stored size that follows from the limits of its parts; most of it is gaze at rest
STATES_BYTES_MAX = 48 * 1024 * 1024  #: decoded states of devices in a worker; all others are in its file
SHELF_CACHE_BYTES = 4 * 1024 * 1024  #: of that file, cached in memory
ATTRIBUTE_COMBINATIONS_MAX = 4096  #: memoised zone decisions
CONDITION_RESULTS_MAX = 256  #: memoised results of one condition or requirement
SEEN_RECENT_BATCHES = 8  #: per stream, for comparison byte for byte: 32 bytes each
SEEN_MARKS_MAX = 16  #: per stream, times that identify older numbers: 20 bytes each
CLOCK_SLACK_NS = 60_000_000_000  #: by which the time of a repeated batch may differ from the marks

# Keys of sealed values
KEYS_WAIT_S = 2.0  #: for another process that writes the key store
KEYS_AT_ONCE = 10_000  #: wrapped again at once, when the key-encryption key is renewed
KEY_HELD_S = 1.5  #: by a process, until it asks the key store again whether it is still present
KEYS_HELD_MAX = 10_000  #: by a process
KEYS_ASKED_MAX = 1_000  #: of a key service, in one request
KEYS_REQUEST_BYTES_MAX = 64 * 1024  #: of such a request
KEY_SERVICE_WAIT_S = 5.0  #: for the answer of a key service
RELEASE_AGAIN_S = 3600.0  #: until a release that goes on is written down once more
RELEASE_REFUSALS_KEPT_MAX = 1_000  #: of which a process remembers that they are written down
IN_FORCE_HELD_S = 0.75  #: for which a reader of sealed values relies on the policy and consents that it read
ERASURE_SETTLES_S = 2.0  #: for which workers are given time to read an erasure, more than they hold a key
ERASURE_LOOKS_S = 0.5  #: between two looks whether a store has applied an erasure
ERASURE_REQUESTS_LOOK_S = 5.0  #: between two looks for requests of devices, if there is a newer epoch
ERASURE_TRIES = 5  #: to let a model version serve without the erased wearer
KEYS_EXPIRE_S = 60.0  #: between two looks for keys whose retention is over
CLOCKS_APART_S_MAX = 3600  #: of this machine and the broker, beyond which no key is destroyed

# Receipts of erasures
RECEIPT_BYTES_MAX = 4096  #: of the file with its signature
RECEIPT_COUNT_MAX = 2**53 - 1  #: the largest integer that every reader of JSON knows exactly

# Messages
FOREIGN_LOG_INTERVAL_S = 10.0  #: between two logged messages of the same line of foreign code

WAIT_SAID_S = 5.0  #: of waiting, until a message says what is waited for
LOOK_INTERVAL_S = 3.0  #: between two checks by a worker of its topics, groups and commits
GROUP_CHARACTERS_MAX = 128  #: of the name of an agent's consumer group
GROUP_MEMBERS_SAID_MAX = 5  #: named members of a group, by client id and host; the others are counted
CLIENT_ID_CHARACTERS_MAX = 64  #: shown of the client id of a group's member

# Consent
CONSENTS_PER_WEARER_MAX = 64  #: words kept; beyond this, the oldest are merged into the ones before them
CONSENTS_WAITING_MAX = 8  #: words of a wearer that arrived out of order
CONSENT_CHANGES_PER_HOUR_MAX = 32  #: of one wearer, not counting those that only restrict the use
CONSENT_BYTES_MAX = 16 * 1024  #: of one stored statement on glasses.consents
CONSENT_TAKEUP_BYTES_MAX = 256 * 1024  #: of one recorded input; a longer one is split into several
NOTICES_PER_WEARER_MAX = 8  #: newest notices that a device is known to have; what was before comes again
NOTIFIED_WEARERS_MAX = 16  #: of a device, whose notices are known; beyond it the first by name goes
CONSENT_SNAPSHOTS_MAX = 64  #: states of a wearer's words in memory, for partitions that are behind

# Transport
FETCH_RECORDS_MAX = 5000
FETCH_RECORDS_FIRST = 250  #: of the first fetch after an assignment; after a full fetch the limit doubles
FETCH_WAIT_MS = 150
FETCHES_IN_FLIGHT_MAX = 2  #: per partition
FETCH_BYTES_MAX = 6 * 1024 * 1024  #: values of one fetch
FETCHED_BYTES_MAX = 16 * 1024 * 1024  #: values in flight in a worker, over all partitions
STATE_RECORD_BYTES_MAX = 512 * 1024  #: of one record of a checkpoint; a longer entry is split into several
COLLECT_INTERVAL_S = 1.0  #: between two collections of reference cycles
CHECKPOINT_INTERVAL_S = 3.0
CHECKPOINT_RECORDS_MAX = (
    10_000  #: per partition; a new owner processes up to this many again, while output stands still
)
SESSION_TIMEOUT_S = 6.0
REBALANCE_TIMEOUT_S = 30.0  #: for which a group waits for a live member to rejoin
HEARTBEAT_INTERVAL_S = 0.3  #: delay until a worker learns of a rebalance; a stall can take two of these
OFFSETS_RETENTION_MINUTES = 10 * 366 * 24 * 60  #: of an empty group; Kafka's default is seven days
TRANSACTION_TIMEOUT_MS = 10_000
TRANSACTION_BACKOFF_MS = 5  #: only for CONCURRENT_TRANSACTIONS
CONNECTION_BACKOFF_MAX_S = 1.0
STATUS_WAIT_S = 3.0  #: for which a status waits for a broker
REFUSAL_LOOK_S = 1.0  #: for which a client may start, before the broker is checked for a refusal
REFUSAL_WAIT_S = 2.0  #: of such a check, for each address
SECRET_BYTES_MAX = 65_536  #: of a file with a password or a token
PASSED_OVER_SAID_MAX = 100  #: records of one topic logged singly; beyond this, one of so many
OUTSIDE_PAUSE_MAX_S = 5.0  #: between attempts at a fetch that fails for an external reason
EMPTY_ASSIGNMENT_REJOIN_S = 3.0

METRICS_INTERVAL_S = 5.0
SERIES_MAX = 2000  #: of all metrics of a process together; further sets of labels are counted as `other`
SCRAPES_MAX = 8  #: answered at one time
SCRAPE_WAIT_S = 5.0  #: until a connection that asks for nothing is ended
DEVICE_SILENT_S = 60.0  #: without a record, after which a device counts as stopped
DEVICE_FORGOTTEN_S = 3600.0  #: without a record, after which it does not count any more
BROKER_LOG_BYTES_MAX = 16 * 1024 * 1024  #: of the embedded broker's kafka.log, which is then started anew

# Store
STORE_VERSION = 4  #: version of its layout
PUBLISH_INTERVAL_MS = 300
EPOCHS_AT_HAND_MAX = 512  #: in the hot file and in a catalog; older ones are in segments
HOT_MEMORY_MB = 256  #: of DuckDB, for the hot file and for looking into segments
HOT_LOG_BYTES_MAX = 64 * 1024 * 1024  #: of the hot file's write-ahead log, until it is merged into the file
CURRENT_FILES_MAX = 200
HOT_BYTES_MAX = 8 * 1024 * 1024  #: of the hot file, until it is rebuilt
HOT_GROWTH_MAX = 4  #: and until it is this many times its size after the last rebuild
FOLD_EPOCHS_MIN = 16  #: fresh epochs, until they are folded
FOLD_FILES_MIN = 60  #: files of fresh epochs, until they are folded
FOLD_ROWS_MAX = 200_000  #: rows of fresh epochs in one fold, unless a single epoch has more
FOLD_CHUNK_ROWS = 100_000  #: rows that a fold holds in memory at once
FOLD_MEMORY_MB = 192  #: of DuckDB for a fold
FOLD_WAIT_MAX_S = 2.0  #: for which an epoch waits for a fold if there are too many files
FOLD_PAUSE_MAX_S = 300.0  #: until a failed fold is tried again
KEPT_DAYS_MAX = 100_000  #: of a retention class, as the store counts it in ns; 273 years
RESIDUE_ROWS = 8192  #: rows of one audience; with fewer, it shares a file with others
TIER_ROWS = 512  #: rows of a file in the lowest tier; each further tier has TIER_FACTOR times as many
TIER_FACTOR = 4
TIER_ROWS_MAX = 4_000_000  #: a file with more is not folded, unless the table has SHARE_MIN times as many
TIER_SHARE_MIN = 16
TIER_FILES_MAX = 150  #: current files; beyond this, the largest group is folded, whatever its tiers
ROW_GROUP_ROWS = 16_384  #: rows of a row group in a folded segment
RUN_CHILDREN_MAX = 2**18  #: children of an edge run that a fold made
ERASED_SPANS_MAX = 160  #: stays at a place in one erasure; its statement holds all of them
ERASED_KEYS_MAX = 400  #: keys that it destroys, which are in its statement too
ERASED_STAY_S = 60  #: since the last look at a place, until a stay there counts as ended
ERASED_AGAIN_S = 10  #: without anything of an erased wearer, until the store is looked through again
SUPERSEDED_GRACE_S = 60.0  #: for which the replaced files of an older epoch are kept for its readers
ERASED_GRACE_S = 20.0  #: the same after an erasure, whose receipt waits for it
MIGRATION_FILE_ROWS = 1_000_000  #: rows of old segments that are merged into one
MIGRATION_SAID_S = 5.0  #: between two lines about the progress of a migration
CATALOGS_MAX = 16  #: newest catalogs that are kept; readers follow `catalog.duckdb` to one of them
WALK_HOPS_MAX = 10_000
WALK_EVENTS_MAX = 1_000_000  #: events that a question about derived data may visit
PAGE_BOXES_MAX = 1000  #: of one drawing; further ones are left out, and counted
PAGE_GENERATIONS_MAX = 200  #: of the loop that one page draws
PAGE_OVER_ROWS_MAX = 200_000  #: of decisions and edges over which two policies are compared: about 3 s
PAGE_ROWS_MAX = 200  #: of one table of a page; the page counts those beyond, and its JSON has up to 1,000
PAGE_EPOCHS_MAX = 400  #: that the slider goes through; if more are kept, so many of them, evenly
PAGE_WORD_CHARACTERS_MAX = 500  #: of one value of a page's address
PAGE_THREADS = 4  #: that read the store at one time for the page's viewers
PAGE_REQUESTS_MAX = 64  #: at one time; further ones are told to come back
PAGE_LIVE_REFRESH_S = 2.0  #: until the live page is made anew, and the store looked at, whoever asks
PAGE_LIVE_REST = 60  #: or, for the look, this many times as long as the last one took,
PAGE_LIVE_REST_S_MAX = 15.0  #: but no longer than this
PAGE_MISSING_REFRESH_S = 10.0  #: between two counts of what is missing for the live page,
PAGE_MISSING_REST = 200  #: or this many times as long as the last count took,
PAGE_MISSING_REST_S_MAX = 300.0  #: but no longer than this
CURRENT_S = 60  #: up to the newest epoch, over which rates are told
PAGE_ABSENT_STEP_S = 0.5  #: a page that is not there is answered after a multiple of this
PAGE_PENDING_S = 2  #: after which a browser asks again while the store has no epoch
PAGE_EXPORT_PAGES_MAX = 500  #: of a static export; links beyond lead to a page that says so
REPORT_REFUSALS_MAX = 30  #: kinds of refusal that a report explains; it counts those beyond
REPORT_GENERATIONS_MAX = 6  #: newest generations that a report draws, because so many fit on a sheet
REPORT_WEARERS_MAX = 50  #: those with the most events, whose reach a report has; it counts those beyond
REPORT_POLICIES_MAX = 8  #: newest policies whose text, or difference from the next, is in a report
REPORT_PRINT_S = 300.0  #: for a Chromium to print a report
WALK_PARTS_MAX = 2**20  #: intervals of numbers that one edge run adds to a walk
ANSWER_ROWS_MAX = 1000
TREE_HOPS_MAX = 12  #: hops of a walk that a terminal shows as a tree; a longer walk is shown as a table
TABLE_TEXT_CHARACTERS = 72  #: of a long text that a table shows, such as a question of the audit log
INDEX_ROWS_MIN = 4_096  #: minimum size of a new index file, in edges and runs of zones
DIFF_RUNS_MAX = 10_000  #: runs of events with the same difference between decisions, listed in JSON
INDEX_BLOCK_BYTES = 32_768  #: of an index file; in smaller blocks DuckDB does not pack integers
EXPORT_INTERVAL_S = 10.0  #: minimum time between two checks of a following export for a new epoch
EXPORT_REST = 4  #: or this many times the duration of the last file, if that is longer
SOURCES_KEPT = 128  #: sources for which an open store keeps data that questions need again
ZONE_RUNS_KEPT = 4096  #: of one such source; if there are more, they are looked up each time
READER_MEMORY_MB = 2048  #: of DuckDB for one reader; a question that needs more fails alone
ROLE_MEMORY_MB = 2048  #: of the DuckDB that runs a role's statements
ROLE_ROWS_MB = 256  #: rows of one table that are copied for a role's statement
TABLE_MB = 1024  #: rows that a program gets as one table
ANONYMITY_MAX = 10_000  #: that a policy can ask for as k or l
ANONYMISED_ROWS_MAX = 250_000  #: of wearers at places in hours; who meets is compared in pairs
STANDARD_EDGES_MAX = 5_000_000  #: edges between runs, in a file of OpenLineage, PROV or GraphML
STATEMENT_BYTES_MAX = (
    64 * 1024
)  #: of an SQL statement; the audit log has statements on restricted zones in full
PAUSE_S_MAX = 10.0  #: that a pause between two epochs counts, when alert rules measure time by epochs
WATCHED_EPOCHS_MAX = 20_000  #: newest epochs whose times are read when watching begins
WATCHED_WORDS_EPOCHS = 2048  #: that are read again for decisions in spite of a word that was just taken up
WATCHED_LAG_INTERVAL_S = 3.0  #: between two questions to a broker about lag, and two attempts to reach it
WATCHED_REFUSALS_MAX = 512  #: rules of refusal that are counted at one time; beyond this, the oldest go
WATCHED_WORDS_MAX = 64  #: newest words of a wearer that are remembered
WATCHED_SAMPLES_MAX = 256  #: of lags, and of free disk space
ALERTS_MAX = 1000  #: that stand at one time; further ones are counted
EVIDENCE_IDS_MAX = 5  #: ids that an alert names
ALERT_RULES_BYTES_MAX = 64 * 1024  #: of a file of alert rules
POST_QUEUE_MAX = 256  #: alerts that wait to be sent; further ones are dropped and counted
POST_WAIT_S = 5.0  #: for one alert, from connecting to the first line of the answer
TRACES_QUEUE_MAX = 256  #: spans that wait for the collector; further ones are dropped, and the log says so
TRACES_INTERVAL_S = 5.0  #: between two requests to it
TRACES_WAIT_S = 1.0  #: for one of them, so that a collector that hangs does not delay the end of a worker
ROLES_BYTES_MAX = 64 * 1024  #: of roles.toml

# What the store's writer accepts in a record of lineage, whoever wrote it
EVENTS_PER_FETCH_MAX = FETCH_RECORDS_MAX * EVENTS_PER_BATCH_MAX  #: events that one row can describe
PARENTS_PER_CHILD_MAX = 2**20  #: in one stream, such as the examples of a model
LINEAGE_ROWS_MAX = 4000  #: rows of one record
GATHER_BYTES = 4 * 1024 * 1024  #: of records that wait to be taken in together
DECODE_BYTES = 4 * 1024 * 1024  #: of records that are converted to columns at once
LINEAGE_CHILDREN_MAX = 2**18  #: children of all edges of one record
LINEAGE_TEXT_BYTES_MAX = 4096  #: of one text of a row: reason, rule, zone
STREAMS_KNOWN_MAX = 65_536  #: streams whose highest number the writer keeps in memory; others are looked up

# Training
ADMITTED_MAX = 1_000_000  #: examples that training's stored state can name
RETRAIN_EVERY_EXAMPLES = 12
SPLIT_SEED = 1  #: of the draw of slots that are kept for validation and test; another one mixes the splits
SPLIT_SLOT_NS = (
    30_000_000_000  #: of a wearer's time that is of one split: a question, its answer, a second try
)
SPLIT_SLOTS = 10  #: in a row, of which one is kept for validation and one for the test
PROMOTION_LEVEL = 0.05  #: chance at which a version that is as good as the serving one is declined
GROUP_LEVEL = 0.01  #: the same for all wearers together
GROUP_LOSS_MAX = 0.1  #: of a wearer's own validation examples that a promoted version may lose
GROUP_EXAMPLES_MIN = 10  #: of a wearer in the validation set, below which the wearer is not judged alone
TRAINING_EXAMPLES_MAX = 16_384  #: that a policy can let a run look at; a fit on them takes some seconds
TRAINING_EXAMPLES_DEFAULT = 4096
TRAINING_READ_RATIO = 4  #: records that a run reads for each of them, so that no device pushes others out
WEARER_WEIGHT_RATIO_MAX = 4  #: how much more all examples of a wearer count than those of the median wearer
OUTLIER_DEVICES_MIN = 3  #: of two devices that contradict each other, nobody can say which one is wrong
OUTLIER_EXAMPLES_MIN = 10  #: of a device, below which it is not judged
OUTLIER_FOLDS = 4  #: models that a run fits beside its own, to compare devices with each other
OUTLIER_CONFIDENCE_MIN = 0.5  #: of the others' model, above which another intent is a contradiction
OUTLIER_EXCESS = 0.5  #: share of its examples that an outlier contradicts more than the others do of theirs
OUTLIER_LEVEL = 0.01  #: chance at which one of the devices of a run is taken for an outlier
TURN_REACH = 3  #: promoted versions back to which the loop goes by itself when feedback turns
TURN_WEARERS_MIN = 5  #: without so many wearers with answers before and since, feedback cannot turn
TURN_ANSWERS_MAX = 20  #: newest answers of a wearer that count, before and since
TURN_LEVEL = 0.001  #: chance, at each run, of going back although feedback did not turn
CHILD_IDLE_S = 20.0  #: without work, after which a child process ends and frees its memory
MODEL_FEATURES = 1024  #: hashed n-grams with a weight in a model, for each intent
INTENTS_MAX = 64  #: names in a policy's `intents`, which a model tells apart
INTENT_BYTES_MAX = 6 * MODEL_FEATURES + 128  #: of a model's record, by intent: weights in base64, a name
MANIFEST_BYTES_MAX = 448 * 1024  #: of a model's record, for the examples of its run, headers included
MODEL_BYTES_MAX = MESSAGE_BYTES_MAX - OUTPUT_HEADROOM_BYTES  #: of a model's record, parents included
LEFT_OUT_MAX = (
    1024  #: examples of failed runs that later runs leave out; beyond this, the oldest are used again
)
CANDIDATES_NAMED_MAX = 8  #: examples that the message about a failed run names
WITHDRAWN_RUNS_MAX = 1_000  #: runs of model versions withdrawn, and of those left behind, that are remembered
MODELS_KEPT_MAX = 64  #: newest model versions in memory; an older one is read again if a state names it
DRIFT_QUERIES_MIN = 64  #: without as many queries, nothing is said about the drift of what a model reads
DRIFT_QUERIES_MAX = 256  #: newest queries that it is measured on
MODELS_WAITING_MAX = 8  #: model versions that wait for their policy
MODEL_NUMBERS_AHEAD_MAX = 1024  #: above the highest known; runs that the policy refused use numbers too
EXAMPLES_AHEAD_MS_MAX = 3_600_000  #: example ahead of the broker's time; it sets training's "now"

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
if OPEN_WINDOWS_BYTES_MAX // STREAMS_PER_DEVICE_MAX > REVISION_MAX:
    raise AssertionError(
        "each revision of an event adds a sample of at least one byte to its window, so this bounds them"
    )
if HEARTBEAT_INTERVAL_S * 3 > SESSION_TIMEOUT_S:
    raise AssertionError("a worker must miss three heartbeats before it is put out of the group")
