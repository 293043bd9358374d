// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Disputes} from "./Disputes.sol";
import {Demand, Fraud, IDisputes, Window} from "./interfaces/IDisputes.sol";
import {IFederation, ModelView, Observation, Params} from "./interfaces/IFederation.sol";
import {DisputeLogic} from "./libraries/DisputeLogic.sol";
import {State} from "./State.sol";

/// @title A federation
/// @notice One model, its parties and its aggregators. The code is in abstract contracts, one concern each. Read
/// them in this order:
/// - {Parameters}: the immutable parameters.
/// - {State}: the storage ({Stored}), and the values derived from it ({Shared}).
/// - {StakeAccounts}: joining, leaving, and the slash for a missing reveal.
/// - {Rounds}: opening, the draw, commits and reveals.
/// - {Rewards}: the pot and its distribution.
/// - {Attestation}: from signed results to the history of accepted models.
/// - {Disputes}: how a wrong model is revoked, and its signers are slashed.
/// This contract adds the views, which {Views} makes.
contract Federation is Disputes {
    constructor(Params memory p) State(p) {}

    /// @inheritdoc IFederation
    function observe(address) external view returns (Observation memory) {
        _view();
    }

    /// @inheritdoc IFederation
    function head() external view returns (ModelView memory) {
        _view();
    }

    /// @inheritdoc IFederation
    function model(uint32) external view returns (ModelView memory) {
        _view();
    }

    /// @inheritdoc IDisputes
    function demandById(uint256) external view returns (Demand memory) {
        _view();
    }

    /// @inheritdoc IDisputes
    function fraud(bytes32) external view returns (Fraud memory) {
        _view();
    }

    /// @inheritdoc IDisputes
    function window(uint32) external view returns (Window memory) {
        _view();
    }

    /// @dev Ends the call with what {Views} returns for it.
    function _view() private view {
        _return(DisputeLogic.read(state, encodedParams, msg.data));
    }
}
