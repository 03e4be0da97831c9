"""The tests: each stands in the folder of rollc's whose work it tests."""
