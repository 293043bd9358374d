// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

/// @notice The vectors that the Python tests read too: tests/vectors/generate.py says what they are.
abstract contract GoldenTest is Test {
    string internal golden = vm.readFile("tests/vectors/golden.json");
}
