"""Pretrain an anchor space from a recipe."""
