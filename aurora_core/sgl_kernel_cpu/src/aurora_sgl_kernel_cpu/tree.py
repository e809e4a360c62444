"""The token tree of a verify cycle: built from the draft's choices, walked along the target's.

The tree's nodes of a request are numbered 0 (the root: the last token known) to N - 1. Children hang on a
linked list: ``next_token`` names a node's first child, ``next_sibling`` the next child of the same parent.
"""

import torch
from torch import Tensor

FULL_MASK = 0
"""Tree mask mode: rows over the full sequence (L + N columns); otherwise over the N tree nodes alone."""


def _parents(parent_list: list[int], selected: list[int], topk: int) -> list[int | None]:
    """The parent node of each node; None where the parent itself was not selected (node 0 has parent 0)."""
    position = {index: node for node, index in reversed(list(enumerate(selected, start=1)))}
    parents: list[int | None] = [0]
    for index in selected:
        block = index // topk
        parents.append(0 if block == 0 else position.get(parent_list[block]))
    return parents


def _ancestors(node: int, parents: list[int | None], depth: int) -> list[int]:
    """A node and its ancestors below the root, nearest first, at most ``depth`` of them."""
    path: list[int] = []
    current: int | None = node
    while current and len(path) < depth:
        path.append(current)
        current = parents[current]
    return path


def build_tree_kernel_efficient_cpu(
    parent_list: Tensor,
    selected_index: Tensor,
    seq_lens: Tensor,
    tree_mask: Tensor,
    positions: Tensor,
    retrieve_index: Tensor,
    next_token: Tensor,
    next_sibling: Tensor,
    topk: int,
    depth: int,
    draft_token_num: int,
    mask_mode: int,
) -> None:
    """Fill the tree's links, its attention mask and its positions.

    Args:
        parent_list: [B, *], the flat index of the parent of each block of ``topk`` children.
        selected_index: [B, N - 1], flat indices of the chosen nodes, ascending.
        seq_lens: [B], tokens before the tree.
        tree_mask: flat mask, filled: a node sees itself, its ancestors and the root.
        positions: flat [B * N], filled with ``seq_len + depth of the node``.
        retrieve_index, next_token, next_sibling: [B, N]; the links arrive filled with -1.
        topk, depth, draft_token_num: branching, tree depth and N.
        mask_mode: FULL_MASK or QLEN_ONLY.
    """
    batch, n = seq_lens.shape[0], draft_token_num
    positions_bn = positions.view(batch, n)
    retrieve_index.view(batch, n).copy_(torch.arange(batch * n).view(batch, n))
    if topk == 1:
        _build_chain(seq_lens, tree_mask, positions_bn, next_token.view(batch, n), mask_mode)
        return
    parent_rows = parent_list.reshape(batch, -1).tolist()
    selected_rows = selected_index.reshape(batch, -1).tolist()
    mask = tree_mask.view(-1)
    offset = 0
    for b, length in enumerate(seq_lens.tolist()):
        parents = _parents(parent_rows[b], selected_rows[b], topk)
        child, sibling = [-1] * n, [-1] * n
        for node in range(n - 1, 0, -1):
            parent = parents[node]
            if parent is not None:
                sibling[node], child[parent] = child[parent], node
        next_token.view(batch, n)[b] = torch.tensor(child)
        next_sibling.view(batch, n)[b] = torch.tensor(sibling)
        visible = torch.zeros((n, n), dtype=mask.dtype)
        visible[:, 0] = 1
        depths = []
        for node in range(n):
            path = _ancestors(node, parents, depth)
            visible[node, path] = 1
            depths.append(length + len(path))
        positions_bn[b] = torch.tensor(depths)
        columns = n + (length if int(mask_mode) == FULL_MASK else 0)
        mask[offset : offset + n * columns].view(n, columns)[:, -n:] = visible
        offset += n * columns


def _build_chain(seq_lens: Tensor, tree_mask: Tensor, positions_bn: Tensor, next_token: Tensor, mask_mode: int) -> None:
    """The tree of one branch (top-k 1): node i + 1 is the only child of node i."""
    batch, n = positions_bn.shape
    positions_bn.copy_(seq_lens[:, None] + torch.arange(n))
    next_token[:, :-1] = torch.arange(1, n)
    visible = torch.ones((n, n), dtype=tree_mask.dtype).tril()
    mask = tree_mask.view(-1)
    if int(mask_mode) != FULL_MASK:
        mask[: batch * n * n].view(batch, n, n).copy_(visible)
        return
    offset = 0
    for length in seq_lens.tolist():
        columns = length + n
        mask[offset : offset + n * columns].view(n, columns)[:, length:] = visible
        offset += n * columns


def verify_tree_greedy_cpu(
    *,
    predicts: Tensor,
    accept_index: Tensor,
    accept_token_num: Tensor,
    candidates: Tensor,
    retrive_index: Tensor,
    retrive_next_token: Tensor,
    retrive_next_sibling: Tensor,
    target_predict: Tensor,
) -> None:
    """Walk each tree from its root along the target's own choices.

    Args:
        predicts: flat [B * N], written at accepted nodes: the target's token after that node.
        accept_index: [B, S + 1], written: flat indices of the accepted nodes, the root first; arrives as -1.
        accept_token_num: [B], written: accepted draft tokens, the root not counted.
        candidates: [B, N], the draft's tokens, the root first.
        retrive_index, retrive_next_token, retrive_next_sibling: [B, N], the tree's links. The spelling is the
            compiled operator's, which SGLang calls by keyword.
        target_predict: [B, N], the target's choice after each node.
    """
    choice = target_predict.reshape(-1).tolist()
    rows = zip(
        candidates.tolist(),
        retrive_index.tolist(),
        retrive_next_token.tolist(),
        retrive_next_sibling.tolist(),
        strict=True,
    )
    width = accept_index.shape[1]
    for b, (tokens, flat, child, sibling) in enumerate(rows):
        path = [flat[0]]
        node = 0
        while len(path) < width:
            expected = choice[path[-1]]
            node = child[node]
            while node != -1 and tokens[node] != expected:
                node = sibling[node]
            if node == -1:
                break
            path.append(flat[node])
        accept_index[b, : len(path)] = torch.tensor(path, dtype=accept_index.dtype)
        accept_token_num[b] = len(path) - 1
        predicts[path] = torch.tensor([choice[index] for index in path], dtype=predicts.dtype)
