"""The protocol's constants that the contracts also define. This module is cheap to import.

Constants of a single subject are in its module: CHUNK_VALUES and MAX_DEPTH in ``layout``,
STATE_FRACTION_BITS in ``manifest``, LEVELS_PER_ANSWER in ``disputes``, codecs in
``content.cid``. tests/unit/model/test_protocol.py compares them all with the contracts.
"""

import re
from typing import Final

#: The largest number of updates in a round, and of parties that a round draws.
MAX_UPDATES: Final = 100
#: The largest number of updates in a private round: a challenge of more fits no transaction.
PRIVATE_UPDATES_LIMIT: Final = 88
#: The smallest number of updates of which a private round opens a sum.
PRIVATE_UPDATES_MINIMUM: Final = 3
#: The number of aggregator seats.
MAX_AGGREGATORS: Final = 64
#: The largest value of an update, and of the step limit of a private federation.
UPDATE_MAX: Final = 32_767
#: The largest L2 norm of a chunk of an update, of 256 times -32,768. A limit of it is smaller.
CHUNK_NORM_LIMIT: Final = 2**19
#: The largest weight of an update.
MAX_WEIGHT: Final = 255
#: The number of basis points in 100 %.
BPS: Final = 10_000
#: The number of bytes of a commitment that the contract stores.
COMMITMENT_BYTES: Final = 26
#: The address of an account or a contract, with or without checksum.
ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
#: Shares of rewards are signed for at most this time: who has the signatures can send them so long.
MAX_VALID_DAYS: Final = 366
