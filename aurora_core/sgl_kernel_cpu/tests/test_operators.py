"""Each operator against a definition written without regard for speed."""

import itertools
import sys

import pytest
import sgl_kernel
import torch
from aurora_sgl_kernel_cpu import slots, tree
from aurora_sgl_kernel_cpu.attention import decode_attention_cpu, extend_attention_cpu
from hypothesis import given, settings
from hypothesis import strategies as st


def randint(high, *shape, seed=0):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


# --- slots ---------------------------------------------------------------------------------------------------


def test_kv_rows_move_as_if_all_were_read_first():
    buffers = [torch.arange(24, dtype=torch.float32).view(8, 3), torch.arange(16, dtype=torch.bfloat16).view(8, 2)]
    before = [b.clone() for b in buffers]
    pointers = torch.tensor([b.data_ptr() for b in buffers], dtype=torch.uint64)
    strides = torch.tensor([b.stride(0) * b.element_size() for b in buffers])
    target, source = torch.tensor([0, 1, 2, 5]), torch.tensor([1, 2, 0, 5])
    slots.copy_all_layer_kv_cache_cpu(pointers, strides, target, source)
    for buffer, old in zip(buffers, before, strict=True):
        assert torch.equal(buffer[target], old[source])
        assert torch.equal(buffer[[3, 4, 5, 6, 7]], old[[3, 4, 5, 6, 7]])


def test_slot_table_is_written_and_read_by_columns():
    table = torch.zeros((4, 10), dtype=torch.int32)
    rows, start, end = torch.tensor([2, 0]), torch.tensor([1, 4]), torch.tensor([3, 7])
    fresh = torch.tensor([11, 12, 21, 22, 23])
    slots.assign_req_to_token_pool_cpu(rows, table, start, end, fresh, 10)
    assert table[2].tolist() == [0, 11, 12, 0, 0, 0, 0, 0, 0, 0]
    assert table[0].tolist() == [0, 0, 0, 0, 21, 22, 23, 0, 0, 0]
    out = torch.empty(5, dtype=torch.int64)
    slots.assign_extend_cache_locs_cpu(rows, table, start, end, out, 10)
    assert torch.equal(out, fresh)


@pytest.mark.parametrize(("topk", "steps"), [(1, 3), (2, 3), (4, 2)])
def test_draft_slots_follow_the_sequence(topk, steps):
    table = randint(1000, 3, 40).to(torch.int32)
    rows, lens = torch.tensor([2, 1]), torch.tensor([5, 9])
    out = torch.empty(2 * topk * steps, dtype=torch.int64)
    slots.assign_draft_cache_locs_contiguous_cpu(rows, table, lens, out, 40, topk, steps)
    expected = torch.cat([table[2, 5 : 5 + topk * steps], table[1, 9 : 9 + topk * steps]])
    assert torch.equal(out, expected.long())


def test_the_bonus_token_is_the_last_accepted():
    bonus = torch.zeros(3, dtype=torch.int32)
    slots.fill_bonus_tokens_cpu(torch.arange(12), torch.tensor([1, 4, 2]), bonus, 4)
    assert bonus.tolist() == [0, 7, 9]


def test_slots_of_accepted_nodes_are_packed():
    out = torch.zeros(6, dtype=torch.int64)
    slots.fill_accept_out_cache_loc_cpu(torch.tensor([[0, 2, -1], [3, -1, -1]]), torch.tensor([10, 11, 12, 13]), out)
    assert out.tolist() == [10, 12, 13, 0, 0, 0]


@pytest.mark.parametrize("select", [None, [1, 4]])
def test_tokens_shift_left_and_the_new_one_follows(select):
    ids = torch.tensor([1, 2, 3, 4, 5, 6])
    index = None if select is None else torch.tensor(select)
    slots.rotate_input_ids_cpu(ids, torch.tensor([0, 3]), torch.tensor([3, 3]), torch.tensor([[7], [8]]), index)
    assert ids.tolist() == ([2, 3, 7, 5, 6, 8] if select is None else [2, 7, 3, 5, 8, 6])


@pytest.mark.parametrize("topk", [1, 3])
def test_each_branch_sees_the_prefix_and_its_own_slots(topk):
    steps, pool = 2, 30
    table = randint(1000, 4, pool).to(torch.int32)
    rows, lens = torch.tensor([3, 1]), torch.tensor([6, 10])
    out = slots.build_draft_decode_metadata_cpu(table, rows, lens, topk, steps, pool)
    for b, branch in itertools.product(range(2), range(topk)):
        row, length = table[rows[b]], int(lens[b])
        own = length + branch * steps
        assert torch.equal(out[b * topk + branch, :length], row[:length])
        assert torch.equal(out[b * topk + branch, length : length + steps], row[own : own + steps])


# --- trees ---------------------------------------------------------------------------------------------------


class Tree:
    """A token tree as an EAGLE draft grows it, kept as plain paths."""

    def __init__(self, topk, steps, nodes, seed):
        generator = torch.Generator().manual_seed(seed)
        scores = [torch.rand(topk, generator=generator)]
        parents = [torch.arange(-1, topk)]
        paths = [(i,) for i in range(topk)]
        frontier = [(float(scores[0][i]), (i,), i) for i in range(topk)]
        everything = list(frontier)
        offset = topk
        for _ in range(steps - 1):
            grown = []
            for at, (score, path, _) in enumerate(frontier):
                for child in range(topk):
                    value = score * float(torch.rand((), generator=generator))
                    grown.append((value, (*path, child), offset + at * topk + child))
            offset += topk * topk
            everything += grown
            frontier = sorted(grown, reverse=True)[:topk]
            parents.append(torch.tensor([index for _, _, index in frontier]))
        chosen = sorted(sorted(everything, reverse=True)[: nodes - 1], key=lambda node: node[2])
        self.selected = torch.tensor([[index for _, _, index in chosen]])
        self.parent_list = torch.cat(parents)[None]
        # A flat index names the block of `topk` children it lies in; the block's parent is in parent_list.
        self.parent_of = {}
        flat = self.parent_list[0].tolist()
        indices = [index for _, _, index in chosen]
        for node, index in enumerate(indices, start=1):
            block = index // topk
            parent = 0 if block == 0 else (indices.index(flat[block]) + 1 if flat[block] in indices else None)
            self.parent_of[node] = parent
        self.paths = paths


def ancestors(node, parent_of):
    path = []
    while node:
        path.append(node)
        node = parent_of[node]
    return path


def build(tree_, topk, steps, nodes, length, mode):
    columns = nodes + (length if mode == tree.FULL_MASK else 0)
    mask = torch.ones(nodes * columns, dtype=torch.bool)
    positions = torch.empty(nodes, dtype=torch.int64)
    index = torch.full((1, nodes), -1)
    child, sibling = torch.full((1, nodes), -1), torch.full((1, nodes), -1)
    arguments = (tree_.parent_list, tree_.selected, torch.tensor([length]), mask, positions, index, child, sibling)
    tree.build_tree_kernel_efficient_cpu(*arguments, topk, steps, nodes, mode)
    return mask.view(nodes, columns), positions, index, child, sibling


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(2, 3, 6), (4, 3, 8), (3, 2, 5), (1, 3, 4), (2, 4, 10)]))
def test_a_tree_links_masks_and_counts_by_ancestry(seed, shape):
    topk, steps, nodes = shape
    grown = Tree(topk, steps, nodes, seed)
    for mode, length in ((1, 7), (tree.FULL_MASK, 7)):
        mask, positions, index, child, sibling = build(grown, topk, steps, nodes, length, mode)
        assert index[0].tolist() == list(range(nodes))
        if mode == tree.FULL_MASK:
            assert mask[:, :length].all()
        for node in range(nodes):
            path = ancestors(node, grown.parent_of)
            assert mask[node, -nodes:].nonzero()[:, 0].tolist() == sorted({0, *path})
            assert int(positions[node]) == length + len(path)
        for parent in range(nodes):
            linked, at = [], int(child[0, parent])
            while at != -1:
                linked.append(at)
                at = int(sibling[0, at])
            assert linked == [n for n in range(1, nodes) if grown.parent_of[n] == parent]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(2, 3, 6), (4, 3, 8), (1, 3, 4)]))
def test_verification_takes_the_longest_path_that_the_target_agrees_with(seed, shape):
    topk, steps, nodes = shape
    grown = Tree(topk, steps, nodes, seed)
    _, _, index, child, sibling = build(grown, topk, steps, nodes, 5, 1)
    tokens = randint(3, 1, nodes, seed=seed)
    expected = randint(3, 1, nodes, seed=seed + 1)
    predicts = torch.zeros(nodes, dtype=torch.int32)
    accept = torch.full((1, steps + 1), -1, dtype=torch.int32)
    count = torch.zeros(1, dtype=torch.int32)
    tree.verify_tree_greedy_cpu(
        predicts=predicts,
        accept_index=accept,
        accept_token_num=count,
        candidates=tokens,
        retrive_index=index,
        retrive_next_token=child,
        retrive_next_sibling=sibling,
        target_predict=expected,
    )
    path = [0]
    while len(path) < steps + 1:
        children = [n for n in range(1, nodes) if grown.parent_of[n] == path[-1]]
        agreed = [n for n in children if tokens[0, n] == expected[0, path[-1]]]
        if not agreed:
            break
        path.append(agreed[0])
    assert accept[0, : len(path)].tolist() == path
    assert (accept[0, len(path) :] == -1).all()
    assert int(count) == len(path) - 1
    assert predicts[path].tolist() == expected[0, path].tolist()


# --- attention -----------------------------------------------------------------------------------------------

H, HK, D = 6, 2, 8


def naive(q, k, v, visible, sinks=None):
    """Softmax attention of [n, H, D] over [L, HK, D] by loops over heads; a sink is a key whose value is zero."""
    out = q.new_zeros(*q.shape[:2], v.shape[-1])
    for h in range(H):
        weights = (q[:, h] @ k[:, h // (H // HK)].T / D**0.5).exp() * visible
        total = weights.sum(-1, keepdim=True) + (0 if sinks is None else sinks[h].exp())
        out[:, h] = weights / total @ v[:, h // (H // HK)]
    return out


def pool(seed=0):
    generator = torch.Generator().manual_seed(seed)
    k, v = torch.randn(64, HK, D, generator=generator), torch.randn(64, HK, D, generator=generator)
    table = torch.stack([torch.randperm(64, generator=generator)[:20] for _ in range(3)]).to(torch.int32)
    return k, v, table, generator


SINKS = torch.linspace(-1, 2, H)


@pytest.mark.parametrize(("window", "sinks"), [(0, None), (3, None), (0, SINKS), (5, SINKS)])
@pytest.mark.parametrize("with_tree", [False, True])
def test_extend_attention_sees_prefix_and_what_the_mask_allows(with_tree, window, sinks):
    k, v, table, generator = pool()
    rows, lens, new = torch.tensor([2, 0]), torch.tensor([11, 6]), torch.tensor([4, 4])
    q = torch.randn(8, H, D, generator=generator)
    out = torch.empty_like(q)
    # Two trees: a root with two children, one of which has a child; and a root with three children.
    blocks = torch.eye(4, dtype=torch.bool).repeat(2, 1, 1)
    blocks[:, :, 0] = True
    blocks[0, 3, 1] = True
    depths = ([0, 1, 1, 2], [0, 1, 1, 1]) if with_tree else ([0, 1, 2, 3], [0, 1, 2, 3])
    mask = blocks.flatten() if with_tree else None
    arguments = (q, None, None, out, k, v, 1.0, 1.0, table, rows, lens, new, torch.tensor([0, 4]), 4, D**-0.5, 0.0)
    extend_attention_cpu(*arguments, False, window, None, sinks, mask, True)
    for b in range(2):
        length, n = int(lens[b]), 4
        slot = table[rows[b], :length].long()
        own = blocks[b] if with_tree else torch.ones(n, n, dtype=torch.bool).tril()
        visible = torch.cat([torch.ones(n, length - n, dtype=torch.bool), own], 1)
        if window:
            positions = [*range(length - n), *(length - n + depth for depth in depths[b])]
            near = [[position > length - n + depth - window for position in positions] for depth in depths[b]]
            visible &= torch.tensor(near)
        expected = naive(q[b * n : b * n + n], k[slot], v[slot], visible, sinks)
        assert torch.allclose(out[b * n : b * n + n], expected, atol=1e-5)


@pytest.mark.parametrize("new", [1, 2, 16, 17])
@pytest.mark.parametrize("width", [D, D - 3])
def test_a_prompt_and_a_few_new_tokens_see_alike(new, width):
    k, v, table, generator = pool(2)
    length, v = 19, v[..., :width].contiguous()
    q = torch.randn(new, H, D, generator=generator)
    out = q.new_empty(new, H, width)
    lens, starts = torch.tensor([length]), torch.tensor([0])
    arguments = (q, None, None, out, k, v, 1.0, 1.0, table, torch.tensor([1]), lens, torch.tensor([new]), starts, new)
    extend_attention_cpu(*arguments, D**-0.5, 0.0, False, 0, None, None, None, True)
    slot = table[1, :length].long()
    visible = torch.ones(new, length, dtype=torch.bool).tril(length - new)
    assert torch.allclose(out, naive(q, k[slot], v[slot], visible), atol=1e-5)


@pytest.mark.parametrize(("window", "sinks"), [(0, None), (4, None), (40, SINKS)])
def test_decode_attention_stores_the_new_token_and_sees_all_or_a_window(window, sinks):
    k, v, table, generator = pool(1)
    rows, lens = torch.tensor([1, 2]), torch.tensor([9, 14])
    q, new_k, new_v = (torch.randn(2, heads, D, generator=generator) for heads in (H, HK, HK))
    out = torch.empty_like(q)
    location = table[rows, lens - 1].long()
    common = (table, rows, lens, D**-0.5, 0.0, False, window, None, sinks)
    decode_attention_cpu(q, k, v, 1.0, 1.0, out, new_k, new_v, location, torch.empty(0), *common)
    assert torch.equal(k[location], new_k)
    for b in range(2):
        slot = table[rows[b], : lens[b]].long()
        visible = torch.arange(int(lens[b]))[None] >= (int(lens[b]) - window if window else 0)
        assert torch.allclose(out[b : b + 1], naive(q[b : b + 1], k[slot], v[slot], visible, sinks), atol=1e-5)


def test_what_is_not_there_is_refused_and_not_ignored():
    k, v, table, _ = pool()
    with pytest.raises(NotImplementedError, match="logit cap"):
        decode_attention_cpu(
            torch.zeros(1, H, D), k, v, 1.0, 1.0, torch.zeros(1, H, D), None, None, None, torch.empty(0),
            table, torch.tensor([0]), torch.tensor([3]), 1.0, 30.0, False, 0, None, None,
        )  # fmt: skip


def test_sglang_finds_the_operators_only_where_none_are_compiled():
    assert "aurora_sgl_kernel_cpu" in sgl_kernel.__file__
    fallback = next(i for i, p in enumerate(sys.path) if p.endswith("fallback"))
    packages = next(i for i, p in enumerate(sys.path) if p.endswith("site-packages"))
    assert fallback > packages
