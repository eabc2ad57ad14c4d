// Activation functions of the CPU backend, element by element. Thread-safe.
#pragma once

#include "engine/backend/backend.h"

namespace reprise::engine {

// Backend::Activate on all threads. Relative error against exact arithmetic is below 1e-6 of |x|.
void ActivateRows(Activation activation, Activations x, Activations out);

// Backend::SoftCap on all threads.
void SoftCapInPlace(Activations x, float cap);

}  // namespace reprise::engine
