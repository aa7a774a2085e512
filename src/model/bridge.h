/* A bridge: an image encoder without words and a text encoder, with a map from each into one space. */
#ifndef KIN_BRIDGE_H
#define KIN_BRIDGE_H

#include "model/model.h"

#define KIN_BRIDGE_TYPE "kindred_bridge" /* model_type in config.json */
#define KIN_BRIDGE_FILE "bridge.safetensors"

/* Make the vector of an image transformer the class token and the mean of the patches behind each of n blocks (counted
 * from 0, ascending), whose number times twice the width is then its dim. n 0: leave the model as it is. Before the
 * model is shared. KIN_ERR_UNSUPPORTED for a model without an image transformer, KIN_ERR_ARGUMENT for a block it
 * doesn't have. */
kin_status kin_model_tap(kin_model *model, const size_t *blocks, size_t n, kin_error *err);

/* The blocks to tap where nobody says: the last four of a transformer; *n 0 for another encoder. `blocks` holds 4. */
void kin_model_default_taps(const kin_model *model, size_t blocks[4], size_t *n);

#endif
