// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Disputes} from "./Disputes.sol";
import {Demand, Fraud, IDisputes, Window} from "./interfaces/IDisputes.sol";
import {IFederation, ModelView, VERSION} from "./interfaces/IFederation.sol";
import {DisputeLogic} from "./libraries/DisputeLogic.sol";

/// @title The views of models and disputes, which {Views} makes in a linked library
abstract contract LinkedViews is Disputes {
    /// @inheritdoc IFederation
    function version() external pure returns (string memory) {
        return VERSION;
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
    function _view() internal view {
        _return(DisputeLogic.read(state, encodedParams, msg.data));
    }
}
