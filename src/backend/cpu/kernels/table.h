// The table that an instruction set's translation unit exports. Included inside its namespace, after the kernels.

static const KernelTable kTable = {
    kName,   kPanelTokens, kPanelChunk, LinearLayer, PromptScratch, Quantize, BuildTables,
    RmsNorm, Gate,         Rotate,      StoreKey,    StoreValue,    Attend,
};
