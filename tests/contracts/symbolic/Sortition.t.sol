// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Sortition} from "../../../contracts/libraries/Sortition.sol";

/// @notice For halmos: each check holds for every value of its parameters. See docs/assurance.md.
contract SortitionSymbolic {
    function check_NoStakeIsNeverDrawn(bytes32 seed, address party, uint112 totalStake, uint16 participants)
        external
        pure
    {
        require(totalStake != 0);
        assert(!Sortition.drawn(seed, party, 0, totalStake, participants));
    }

    function check_AShareOfOneSeatIsAlwaysDrawn(bytes32 seed, address party, uint96 stake) external pure {
        uint256 totalStake = 1_000_000 ether;
        require(uint256(stake) * 64 >= totalStake);
        assert(Sortition.drawn(seed, party, stake, totalStake, 64));
    }

    function check_MoreStakeNeverLosesASeat(bytes32 seed, address party, uint96 stake, uint96 more)
        external
        pure
    {
        require(more >= stake);
        if (Sortition.drawn(seed, party, stake, 1_000_000 ether, 64)) {
            assert(Sortition.drawn(seed, party, more, 1_000_000 ether, 64));
        }
    }
}
