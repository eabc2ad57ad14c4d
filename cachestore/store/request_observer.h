// RequestObserver: who may watch the requests of a store.
#pragma once

#include "cachestore/policy/store_request.h"

namespace reprise::cachestore {

// Sees the requests of a store, one call at a time, in the order in which it answers them.
class RequestObserver {
 public:
  virtual ~RequestObserver() = default;
  // Called with the store's lock held: must be quick, must not call the store.
  virtual void OnRequest(const StoreRequest& request) = 0;
  virtual void OnEnd(const StoreRequestEnd& end) = 0;
};

}  // namespace reprise::cachestore
