// Rounds a matrix to int4 or int8 so that the layer's outputs on the calibration text change least, not its weights: (w
// - w')^T H (w - w') row by row, H as in gram.h. Knows neither models nor files.
//
// 1. Columns from the last to the first; what rounding them did to the output is made good by the columns that are
// still
//    to come (GPTQ's feedback, in QuIP's form without an inverse). A group's scale is searched when the group begins,
//    each column weighted by what its error costs there.
// 2. Sweeps of coordinate descent over scales, zeros and codes: each goes to its best value while all others stand.
// 3. A row that the plain encoder of quant/codec.h would store better keeps that: calibrated is never worse.
// Sources: Frantar et al., "GPTQ" (2022); Chee et al., "QuIP" (2023); Behdin et al., "QuantEase" (2023) for the sweeps.
#pragma once

#include "base/worker_pool.h"
#include "convert/gram.h"
#include "model/weight_table.h"

namespace edgellm {

/// Mean squared change of the outputs over their mean square, root of it: by the plain encoder and as returned.
struct OutputErrors {
  double plain = 0, calibrated = 0;
};

/// int4 and int8.
bool CanBeCalibrated(const WeightFormat& format);

/// `source` holds finite values and has gram.size() columns. The bytes depend on these alone, not on
/// the number of threads.
Tensor RoundCalibrated(const WeightView& source, const WeightFormat& format, const Gram& gram, WorkerPool& pool,
                       OutputErrors* errors);

}  // namespace edgellm
