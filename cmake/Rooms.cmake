# One static library per room; a room sees only the rooms named as its dependencies.

add_library(lsn_flags INTERFACE)
target_include_directories(lsn_flags INTERFACE ${PROJECT_SOURCE_DIR}/include)
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

function(lsn_room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cpp)
  add_library(lsn_${name} STATIC ${sources})
  set_target_properties(lsn_${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(lsn_${name} PUBLIC lsn_flags ${ROOM_DEPENDS})
endfunction()

# A room that another build has made.
function(lsn_ready_room name library)
  add_library(lsn_${name} STATIC IMPORTED GLOBAL)
  set_target_properties(lsn_${name} PROPERTIES IMPORTED_LOCATION ${library})
  target_link_libraries(lsn_${name} INTERFACE lsn_flags ${ARGN})
endfunction()

# The plain data that control and datapath share: headers only.
function(lsn_plain_room)
  add_library(lsn_plain INTERFACE)
  target_link_libraries(lsn_plain INTERFACE lsn_flags lsn_wire)
endfunction()

function(lsn_program name)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/app/${name}/*.cpp)
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE ${ARGN})
endfunction()
