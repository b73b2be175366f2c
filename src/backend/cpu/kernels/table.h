// The table that an instruction set's translation unit exports. Included inside its namespace, after the kernels.

static const KernelTable kTable = {
    kName, LinearLayer, LinearScratch, Quantize, BuildTables, RmsNorm, Gate, Rotate, StoreKey, StoreValue, Attend,
};
