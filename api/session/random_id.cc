#include "api/session/random_id.h"

#include <sys/random.h>

#include "cachestore/base/check.h"

namespace reprise::api {

std::string RandomId() {
  std::string id(kIdBytes, '\0');
  // So few bytes come all at once, once the system has started.
  CHECK(getrandom(id.data(), id.size(), 0) == static_cast<ssize_t>(id.size()));
  return id;
}

}  // namespace reprise::api
