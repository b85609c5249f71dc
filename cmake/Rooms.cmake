# A room is a directory of include/lsn and src: its sources, and the headers that others may
# include. Each has an include root of its own, in the build directory, that leads to its headers
# alone; so a room that includes another one's header without naming that one here does not compile.

add_library(lsn_flags INTERFACE)
target_compile_options(lsn_flags INTERFACE -march=${LSN_ARCH} -Wall -Wextra -Wconversion -Wshadow
                       -fno-strict-aliasing)
target_compile_definitions(lsn_flags INTERFACE LSN_VERSION="${PROJECT_VERSION}"
                           LSN_ARCH="${LSN_ARCH}")
if(LSN_WERROR)
  target_compile_options(lsn_flags INTERFACE -Werror)
endif()
if(LSN_SANITIZE)
  target_compile_options(lsn_flags INTERFACE -fsanitize=${LSN_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(lsn_flags INTERFACE -fsanitize=${LSN_SANITIZE})
  # gcc's flow analysis loses track under the sanitizers' instrumentation.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(lsn_flags INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  # ranges: libstdc++ 12's <expected> hides behind a concepts level that clang reports differently;
  # deprecated: what libstdc++ 12's own std::inplace_merge uses
  target_compile_options(lsn_flags INTERFACE -D__cpp_concepts=202002L -Wno-builtin-macro-redefined
                         -Wno-sign-conversion -Wno-implicit-int-float-conversion
                         -Wno-gnu-line-marker -Wno-macro-redefined
                         -Wno-deprecated-declarations)
endif()

# lsn_root(ROOM PATH ...): the interface target lsn_ROOM_headers, whose users may include
# <lsn/PATH>.
function(lsn_root room)
  set(root ${CMAKE_BINARY_DIR}/include/${room})
  file(REMOVE_RECURSE ${root})
  foreach(path ${ARGN})
    get_filename_component(directory ${root}/lsn/${path} DIRECTORY)
    file(MAKE_DIRECTORY ${directory})
    file(CREATE_LINK ${PROJECT_SOURCE_DIR}/include/lsn/${path} ${root}/lsn/${path} SYMBOLIC)
  endforeach()
  add_library(lsn_${room}_headers INTERFACE)
  target_include_directories(lsn_${room}_headers INTERFACE ${root})
endfunction()

# lsn_room(ROOM DEPENDS TARGET ...): a static library of src/ROOM
function(lsn_room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cpp)
  lsn_root(${name} ${name})
  add_library(lsn_${name} STATIC ${sources})
  set_target_properties(lsn_${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(lsn_${name} PUBLIC lsn_${name}_headers lsn_flags ${ROOM_DEPENDS})
endfunction()

# lsn_floor(FLOOR HEADERS PATH ... SOURCES PATTERN ... [DEPENDS TARGET ...]): a room that is one of
# several in a library, whose sources may call what the floor above implements
# (lsn44/alg_hooks.hpp).
function(lsn_floor name)
  cmake_parse_arguments(FLOOR "" "" "HEADERS;SOURCES;DEPENDS" ${ARGN})
  lsn_root(${name} ${FLOOR_HEADERS})
  target_link_libraries(lsn_${name}_headers INTERFACE ${FLOOR_DEPENDS})
  file(GLOB sources CONFIGURE_DEPENDS ${FLOOR_SOURCES})
  add_library(lsn_${name} OBJECT ${sources})
  target_link_libraries(lsn_${name} PUBLIC lsn_${name}_headers lsn_flags)
endfunction()

# lsn_header_room(ROOM DEPENDS TARGET ...): without sources
function(lsn_header_room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS" ${ARGN})
  lsn_root(${name} ${name})
  add_library(lsn_${name} INTERFACE)
  target_link_libraries(lsn_${name} INTERFACE lsn_${name}_headers lsn_flags ${ROOM_DEPENDS})
endfunction()

# A room that another build has made.
function(lsn_ready_room name library)
  lsn_root(${name} ${name})
  add_library(lsn_${name} STATIC IMPORTED GLOBAL)
  set_target_properties(lsn_${name} PROPERTIES IMPORTED_LOCATION ${library})
  target_link_libraries(lsn_${name} INTERFACE lsn_${name}_headers lsn_flags ${ARGN})
endfunction()

function(lsn_program name)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/app/${name}/*.cpp)
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ${ARGN})
endfunction()
